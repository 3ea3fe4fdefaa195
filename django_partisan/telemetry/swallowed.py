"""Count the errors of subscribers, which never reach a task, and report the first of each subscriber."""

import sys
import traceback
from collections import Counter
from collections.abc import Callable

counts: Counter[str] = Counter()
"""The number of errors by subscriber name, and under ``headers`` the number of carried contexts dropped."""

_reported: set[str] = set()


def print_error(text: str) -> None:
    """Print an error report on standard error."""
    print(text, file=sys.stderr)


report: Callable[[str], None] = print_error
"""The function that reports errors of subscribers; logs replace it with one that waits for no reader."""


def swallow(name: str) -> None:
    """Count the current exception for a subscriber; report it if it is that subscriber's first."""
    counts[name] += 1
    if name in _reported:
        return
    _reported.add(name)
    try:
        error = traceback.format_exc().rstrip()
        report(
            f"django_partisan: the {name} subscriber raised an exception; "
            f"further errors are only counted.\n{error}"
        )
    except Exception:  # standard error is closed: the error stays counted, and the task continues
        counts["stderr"] += 1
