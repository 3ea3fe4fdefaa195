"""The kinds of interruption, with the reason and exception of each; shared by managers and workers."""

from collections.abc import Mapping
from typing import Final

from django_partisan.cancelling import cancelled
from django_partisan.exceptions import TaskCancelled, TaskTimeout
from django_partisan.outcomes import REASON_CANCELLED, REASON_TIMEOUT

TIMEOUT: Final = "timeout"
CANCEL: Final = "cancel"
REASONS: Final[Mapping[str, str]] = {TIMEOUT: REASON_TIMEOUT, CANCEL: REASON_CANCELLED}
"""The reason with which an interrupted task fails, by kind."""


def error_of(kind: str, comment: str) -> TaskTimeout | TaskCancelled:
    """Return the exception to raise inside the run, or to record if the run never ended."""
    return TaskTimeout(comment) if kind == TIMEOUT else cancelled(comment)
