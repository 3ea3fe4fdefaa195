"""The subject of a check, and its findings."""

from collections.abc import Iterable
from pathlib import Path
from typing import Final, NamedTuple

FINE: Final = "fine"
SKIPPED: Final = "skipped"
WARNING: Final = "warning"
ERROR: Final = "error"
# From the best status to the worst; ``skipped``: not checked, for the reason in the message.
EXIT_CODES: Final = {FINE: 0, SKIPPED: 0, WARNING: 1, ERROR: 2}


class Subject(NamedTuple):
    """One queue of this project, and the options of its manager; ``None``: not given."""

    queue: str
    metrics_url: str | None = None
    metrics_ca: str | None = None
    metrics_token_file: str | None = None
    log_format: str = "auto"
    log_file: str | None = None
    rules: Path | None = None


class Finding(NamedTuple):
    """One result of a check: its status, a message, the remedy if it is not fine, and the check's name."""

    status: str
    message: str
    remedy: str = ""
    check: str = ""


def worst(findings: Iterable[Finding]) -> str:
    """Return the worst status among findings; ``fine`` if there is none."""
    return max((finding.status for finding in findings), key=list(EXIT_CODES).index, default=FINE)
