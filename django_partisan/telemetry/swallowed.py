"""Errors of subscribers, which never reach a task: each is counted, the first of each subscriber reported."""

import sys
import traceback
from collections import Counter
from collections.abc import Callable

counts: Counter[str] = Counter()
"""Errors by the name of the subscriber, and ``headers`` for carried contexts that were dropped."""

_reported: set[str] = set()


def report_errors_to(write: Callable[[str], None]) -> None:
    """Let ``write`` report the errors of subscribers; by default they are printed on standard error."""
    global _report_to
    _report_to = write


def print_error(text: str) -> None:
    """Print the report of an error on standard error."""
    print(text, file=sys.stderr)


_report_to = print_error


def swallow(name: str) -> None:
    """Count the current exception for a subscriber; report its first one."""
    counts[name] += 1
    if name in _reported:
        return
    _reported.add(name)
    try:
        error = traceback.format_exc().rstrip()
        _report_to(
            f"django_partisan: the {name} subscriber raised; further errors are only counted.\n{error}"
        )
    except Exception:  # standard error is closed: the count stands, the task goes on
        counts["stderr"] += 1
