"""The kinds of interruption, and the reason and the exception of each; managers and workers share them."""

from collections.abc import Mapping
from typing import Final

from django_partisan.cancelling import cancelled
from django_partisan.exceptions import TaskCancelled, TaskTimeout
from django_partisan.outcomes import REASON_CANCELLED, REASON_TIMEOUT

TIMEOUT: Final = "timeout"
CANCEL: Final = "cancel"
REASONS: Final[Mapping[str, str]] = {TIMEOUT: REASON_TIMEOUT, CANCEL: REASON_CANCELLED}
"""Why a task fails, by kind."""


def error_of(kind: str, comment: str) -> TaskTimeout | TaskCancelled:
    """Return the exception that is raised inside a run, or that stands for it if it never ended."""
    return TaskTimeout(comment) if kind == TIMEOUT else cancelled(comment)
