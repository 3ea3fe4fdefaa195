"""What an examination finds."""

from collections.abc import Iterable
from typing import Final, NamedTuple

FINE: Final = "fine"
SKIPPED: Final = "skipped"
WARNING: Final = "warning"
ERROR: Final = "error"
STATUSES: Final = (FINE, SKIPPED, WARNING, ERROR)
"""From the best to the worst; ``skipped`` was not looked at, which the message explains."""

_EXIT_CODES: Final = {FINE: 0, SKIPPED: 0, WARNING: 1, ERROR: 2}


class Finding(NamedTuple):
    """One thing that was looked at: what, how it is, and the cure if it is not fine."""

    check: str
    status: str
    message: str
    cure: str = ""


def worst(findings: Iterable[Finding]) -> str:
    """Return the worst status among findings; ``fine`` if there is none."""
    return max((finding.status for finding in findings), key=STATUSES.index, default=FINE)


def exit_code(findings: Iterable[Finding]) -> int:
    """Return 0 if all is fine, 1 for warnings, 2 for errors."""
    return _EXIT_CODES[worst(findings)]
