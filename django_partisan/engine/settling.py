"""Write outcomes so that a row that PostgreSQL refuses, or that is locked, does not hold up the others.

Each claim token has one outcome, and a row has one token at a time. Therefore the order in which outcomes are
written, and how they are divided, does not matter: each part is one statement and one transaction.
"""

from collections.abc import Sequence
from typing import Final, TypeVar

from django.db.backends.base.base import BaseDatabaseWrapper

from django_partisan.engine.outcome_writing import Kind, WriteAttempt, WriteResult
from django_partisan.sql.row_changes import Item

T = TypeVar("T")

PART_LOCK_TIMEOUT_MS: Final = 20
"""How long a part of a batch waits for locks, in milliseconds, after the whole batch has waited without
result."""


def write(
    connection: BaseDatabaseWrapper,
    kind: Kind,
    items: Sequence[Item],
    again: bool = False,
) -> WriteResult:
    """Write items of one kind in one statement, or in halves if PostgreSQL refuses one of them.

    ``again`` means that the answer to the same write was lost before. Raises an error if the database cannot
    be reached or is read-only; the items can then be written later.
    """
    attempt = WriteAttempt(connection, kind, again)
    attempt.write(items)
    return attempt.result()


def write_part(
    connection: BaseDatabaseWrapper,
    kind: Kind,
    items: Sequence[Item],
    again: bool = False,
) -> WriteResult:
    """Write those of the held-up items whose rows no other transaction locks.

    If a single item still has to wait, it waits for a transaction that has inserted its duplicate, so the
    item gives up its unique key.
    """
    attempt = WriteAttempt(connection, kind, again, PART_LOCK_TIMEOUT_MS)
    free = attempt.without_locked(items)
    attempt.write(free)
    written = attempt.result()
    if len(free) != 1 or not attempt.is_locked:
        return written
    later = written.later
    if kind.has_key:
        attempt = WriteAttempt(connection, kind, again, PART_LOCK_TIMEOUT_MS, keep_keys=False)
        attempt.write(free)
        written = attempt.result()
        later = [*later, *written.later]
    return written._replace(delayed=[], later=[*later, *written.delayed])


def write_all(
    connection: BaseDatabaseWrapper,
    kind: Kind,
    items: Sequence[Item],
    again: bool = False,
) -> list[Item]:
    """Write items at once, then in parts; return those that have to be written again later."""
    written = write(connection, kind, items, again)
    later, parts = set(written.later), halves(written.delayed)
    while parts:
        part = set(parts.pop())
        written = write_part(connection, kind, [item for item in items if item[0] in part], again)
        later.update(written.later)
        parts += halves(written.delayed)
    return [item for item in items if item[0] in later]


def halves(items: list[T]) -> list[list[T]]:
    """Split a list into the parts to try next: two halves if there are at least two items."""
    middle = len(items) // 2
    return [part for part in (items[:middle], items[middle:]) if part]
