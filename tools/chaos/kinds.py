"""The kinds of tasks, and how a task of each kind must end, whatever faults happen."""

from collections.abc import Callable
from dataclasses import dataclass

MAX_POSTPONES = 3
MAX_RETRIES = 2
POSTPONE_SECONDS = 0.2
RETRY_SECONDS = 0.1

FINISHED = "finished"
ERROR = "error"


@dataclass(frozen=True)
class End:
    """How a task must end; ``retries`` is `None` if faults can cause retries."""

    status: str = FINISHED
    reason: str | None = None
    postpones: int | None = 0
    retries: int | None = 0


@dataclass(frozen=True)
class Kind:
    """A kind of task: how often it is enqueued, its amounts (seconds or times), and how it ends."""

    weight: int
    amounts: tuple[float, ...]
    end: Callable[[float], End]
    is_unique: bool = False
    is_atomic: bool = False


def _postponed(times: float) -> End:
    if times > MAX_POSTPONES:
        return End(ERROR, "max_postpones", postpones=MAX_POSTPONES)
    return End(postpones=int(times))


def _retried(times: float) -> End:
    if times > MAX_RETRIES:
        return End(ERROR, "retries_exhausted", retries=MAX_RETRIES)
    return End(retries=int(times))


def _finished(_: float) -> End:
    return End()


KINDS = {
    "Instant": Kind(30, (0,), _finished),
    "Nap": Kind(25, (0.005, 0.02, 0.05, 0.1), _finished),
    "Long": Kind(5, (1.0, 4.0, 7.0), _finished),
    "Postponing": Kind(8, (1, 2, 3, 9), _postponed),
    "Retrying": Kind(8, (1, 2, 9), _retried),
    "Failing": Kind(6, (0,), lambda _: End(ERROR, "error")),
    "Dying": Kind(1, (1, 2), _finished),
    "Unique": Kind(8, (0, 1, 2, 3, 4), _finished, is_unique=True),
    "UniquePostponing": Kind(4, (0, 1, 2), lambda _: End(postpones=1), is_unique=True),
    "AtomicCompleting": Kind(10, (0, 0.05), lambda _: End(retries=None), is_atomic=True),
    "AtomicPostponing": Kind(
        3, (1, 2), lambda times: End(postpones=int(times), retries=None), is_atomic=True
    ),
    "AtomicFailing": Kind(3, (0,), lambda _: End(ERROR, "error", retries=None), is_atomic=True),
}
"""The kinds by processor name. The amount of a unique kind is its only argument, so duplicates occur."""
