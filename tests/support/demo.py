"""What the demo prints."""

import re


def number_of(said: str, outcome: str) -> int:
    """Return how many tasks had an outcome, by the summary in what the demo said."""
    found = re.search(rf"^ *{outcome} +(\d+)", said, re.MULTILINE)
    assert found, said
    return int(found[1])
