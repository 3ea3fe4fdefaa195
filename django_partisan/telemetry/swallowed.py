"""Count the errors of subscribers, which never reach a task, and report the first of each subscriber."""

import sys
import traceback
from collections import Counter
from collections.abc import Callable

counts: Counter[str] = Counter()
"""The number of errors by subscriber name, and under ``headers`` the number of carried contexts dropped."""

_reported: set[str] = set()


def report_errors_to(write: Callable[[str], None]) -> None:
    """Report the errors of subscribers with ``write``; by default they are printed on standard error."""
    global _report_to
    _report_to = write


def print_error(text: str) -> None:
    """Print an error report on standard error."""
    print(text, file=sys.stderr)


_report_to = print_error


def swallow(name: str) -> None:
    """Count the current exception for a subscriber; report it if it is that subscriber's first."""
    counts[name] += 1
    if name in _reported:
        return
    _reported.add(name)
    try:
        error = traceback.format_exc().rstrip()
        _report_to(
            f"django_partisan: the {name} subscriber raised an exception; "
            f"further errors are only counted.\n{error}"
        )
    except Exception:  # standard error is closed: the error stays counted, and the task continues
        counts["stderr"] += 1
