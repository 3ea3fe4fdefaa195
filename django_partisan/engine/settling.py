"""Write outcomes so that one row that PostgreSQL refuses, or that others lock, holds up no other.

A claim token has one outcome, and a row carries one token at a time. So it does not matter in which
order outcomes are written, or how they are divided: each part is a statement and a transaction.
"""

from collections.abc import Sequence
from typing import Final, TypeVar

from django.db.backends.base.base import BaseDatabaseWrapper

from django_partisan.engine.writing import Kind, Writing, Written
from django_partisan.sql.row_changes import Item

T = TypeVar("T")

PART_LOCK_TIMEOUT_MS: Final = 20
"""How long a part of a batch waits for the locks of others, after the whole has waited in vain."""


def write(
    connection: BaseDatabaseWrapper,
    kind: Kind,
    items: Sequence[Item],
    again: bool = False,
) -> Written:
    """Write items of one kind in one statement, and in halves if PostgreSQL refuses one of them.

    ``again`` says that an answer to the same was lost before. Raises the errors after which the same can be
    written later.
    """
    writing = Writing(connection, kind, again)
    writing.write(items)
    return writing.written()


def write_part(
    connection: BaseDatabaseWrapper,
    kind: Kind,
    items: Sequence[Item],
    again: bool = False,
) -> Written:
    """Write items that were held up: those whose rows no other transaction locks.

    If one that is alone still has to wait, it waits for a transaction that has inserted its duplicate:
    it gives up its key.
    """
    writing = Writing(connection, kind, again, PART_LOCK_TIMEOUT_MS)
    free = writing.without_locked(items)
    writing.write(free)
    written = writing.written()
    if len(free) != 1 or not writing.is_locked:
        return written
    later = written.later
    if kind.has_key:
        writing = Writing(connection, kind, again, PART_LOCK_TIMEOUT_MS, keep_keys=False)
        writing.write(free)
        written = writing.written()
        later = [*later, *written.later]
    return written._replace(held_up=[], later=[*later, *written.held_up])


def write_all(
    connection: BaseDatabaseWrapper,
    kind: Kind,
    items: Sequence[Item],
    again: bool = False,
) -> list[Item]:
    """Write items at once and in parts; return those that have to be tried again later."""
    written = write(connection, kind, items, again)
    later, parts = set(written.later), halves(written.held_up)
    while parts:
        part = set(parts.pop())
        written = write_part(connection, kind, [item for item in items if item[0] in part], again)
        later.update(written.later)
        parts += halves(written.held_up)
    return [item for item in items if item[0] in later]


def halves(items: list[T]) -> list[list[T]]:
    """Return what is to be tried in smaller parts as parts: two if there are enough for two."""
    middle = len(items) // 2
    return [part for part in (items[:middle], items[middle:]) if part]
