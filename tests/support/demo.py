"""Parse the output of the demo."""

import re


def number_of(said: str, outcome: str) -> int:
    """Return the number of tasks with an outcome, from the summary in the demo's output."""
    found = re.search(rf"^ *{outcome} +(\d+)", said, re.MULTILINE)
    assert found, said
    return int(found[1])
