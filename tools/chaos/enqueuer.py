"""Enqueue tasks of every kind, commit most, roll some back, and write each to the journal.

CHAOS_SETTINGS=... python -m tools.chaos.enqueuer NAME SEED SECONDS
"""

import itertools
import random
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import timedelta
from typing import Any

import django
from django.db import Error, connection, transaction
from django.utils import timezone

from tools.chaos import journal
from tools.chaos.kinds import KINDS

PAUSE_SECONDS = 0.15
AFTER_ERROR_SECONDS = 0.3
AHEAD_SECONDS = (0.5, 6.0)
HELD_OPEN_SECONDS = (0.5, 6.0)
BURST = 80
"""More tasks than the workers run in a second, so that managers hold tasks that have not started."""

Described = dict[str, Any]


class RolledBack(Exception):
    """Raised to roll back the enqueuer's transaction."""


class Enqueuer:
    """A process that enqueues. The names of its tasks and transactions start with its own."""

    def __init__(self, name: str, seed: int) -> None:
        self._choose = random.Random(seed)
        self._keys = (f"{name}-{number}" for number in itertools.count())
        self._transactions = (f"{name}/{number}" for number in itertools.count())

    def step(self) -> None:
        """Enqueue some tasks in a randomly chosen way."""
        ways: list[tuple[Callable[[], None], int]] = [
            (self._one, 10),
            (self._bulk, 4),
            (self._burst, 1),
            (self._in_transaction, 6),
            (self._rolled_back, 3),
            (self._held_open, 1),
        ]
        functions, weights = zip(*ways, strict=True)
        self._choose.choices(functions, weights)[0]()

    def _one(self) -> None:
        described = self._describe(self._kind())
        with self._journaled([described], at_once=True) as ids:
            ids.append(self._delay(described))

    def _bulk(self) -> None:
        count = self._choose.randint(2, 30)
        self._delay_many([self._describe(self._kind(), ahead=False) for _ in range(count)])

    def _burst(self) -> None:
        self._delay_many([self._describe("Nap") for _ in range(BURST)])

    def _delay_many(self, described: list[Described]) -> None:
        from django_partisan.processor import bulk_delay

        with self._journaled(described, at_once=True) as ids:
            ids.extend(bulk_delay([_processor(one) for one in described]))

    def _in_transaction(self, *, seconds: float = 0.0, undone: bool = False) -> None:
        from tools.chaos.app.models import Marker

        described = [self._describe(self._kind()) for _ in range(self._choose.randint(1, 4))]
        if seconds:  # a duplicate for the settlement of a postponed task
            described.append(self._describe("UniquePostponing"))
        with self._journaled(described, at_once=False) as ids, transaction.atomic():
            Marker.objects.create(transaction=ids.transaction)
            ids.extend(self._delay(one) for one in described)
            time.sleep(seconds)
            if undone:
                raise RolledBack
            ids.may_be_committed = True

    def _rolled_back(self) -> None:
        self._in_transaction(undone=True)

    def _held_open(self) -> None:
        self._in_transaction(seconds=self._choose.uniform(*HELD_OPEN_SECONDS))

    @contextmanager
    def _journaled(self, described: list[Described], at_once: bool) -> Iterator["_Ids"]:
        """Write the tasks to the journal before they are enqueued, and the result afterwards.

        ``at_once`` means that the statement commits by itself.
        """
        ids = _Ids(next(self._transactions), may_be_committed=at_once)
        journal.write("enqueuing", transaction=ids.transaction, at_once=at_once, tasks=described)
        try:
            yield ids
        except RolledBack:
            journal.write("rolled_back", transaction=ids.transaction)
        except Error as error:
            # Without an answer to COMMIT the result is unknown; without COMMIT the tasks are rolled back.
            what = "unknown" if ids.may_be_committed else "rolled_back"
            journal.write(what, transaction=ids.transaction, error=repr(error))
            connection.close()
            time.sleep(AFTER_ERROR_SECONDS)
        else:
            journal.write("committed", transaction=ids.transaction, ids=list(ids))

    def _kind(self) -> str:
        return self._choose.choices(list(KINDS), [kind.weight for kind in KINDS.values()])[0]

    def _describe(self, kind: str, ahead: bool = True) -> Described:
        amount = self._choose.choice(KINDS[kind].amounts)
        key = f"{kind}-{amount}" if KINDS[kind].is_unique else next(self._keys)
        scheduled = ahead and kind == "Instant" and self._choose.random() < 0.2
        due = time.time() + self._choose.uniform(*AHEAD_SECONDS) if scheduled else None
        return {"key": key, "kind": kind, "amount": amount, "due": due}

    def _delay(self, described: Described) -> int:
        after = None
        if described["due"] is not None:
            after = timezone.now() + timedelta(seconds=described["due"] - time.time())
        return int(_processor(described).delay(execute_after=after).pk)


class _Ids(list[int]):
    """The ids of a transaction's tasks, and whether COMMIT may have been sent."""

    def __init__(self, name: str, may_be_committed: bool) -> None:
        super().__init__()
        self.transaction = name
        self.may_be_committed = may_be_committed


def _processor(described: Described) -> Any:
    from tools.chaos.app import partisan_tasks

    return getattr(partisan_tasks, described["kind"])(described["key"], described["amount"])


def main(name: str, seed: str, seconds: str) -> None:
    """Enqueue until the time is up."""
    django.setup()
    enqueuer = Enqueuer(name, int(seed))
    journal.write("ready")
    deadline = time.monotonic() + float(seconds)
    while time.monotonic() < deadline:
        enqueuer.step()
        time.sleep(PAUSE_SECONDS)
    connection.close()


if __name__ == "__main__":
    main(*sys.argv[1:])
