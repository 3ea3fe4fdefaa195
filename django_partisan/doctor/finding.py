"""What a check finds."""

from collections.abc import Iterable
from typing import Final, NamedTuple

FINE: Final = "fine"
SKIPPED: Final = "skipped"
WARNING: Final = "warning"
ERROR: Final = "error"
EXIT_CODES: Final = {FINE: 0, SKIPPED: 0, WARNING: 1, ERROR: 2}
"""From the best status to the worst; ``skipped`` was not checked, and the message says why."""


class Finding(NamedTuple):
    """One result: its status, what was found, the cure if it is not fine, and the check that found it."""

    status: str
    message: str
    cure: str = ""
    check: str = ""


def worst(findings: Iterable[Finding]) -> str:
    """Return the worst status among findings; ``fine`` if there is none."""
    return max((finding.status for finding in findings), key=list(EXIT_CODES).index, default=FINE)
