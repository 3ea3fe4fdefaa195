"""Concurrent claims, settlements, deaths, rescues, requeues and cancels: each task ends exactly once."""

from collections import Counter
from functools import partial
from random import Random
from uuid import UUID, uuid4

import pytest
from django.db import connection as of_the_test
from django.db.backends.base.base import BaseDatabaseWrapper

from django_partisan.cancelling import cancellation_for
from django_partisan.models import CancelRequest, Task
from django_partisan.sql import cancelling, leasing, rescuing, settling
from django_partisan.sql.claiming import ID, TOKEN, TaskRow
from django_partisan.sql.requeueing import requeue
from django_partisan.sql.row_changes import RowChange
from django_partisan.sql.settling import apply_changes
from django_partisan.sql.tokens import new_token
from tests.db.core.racing import race, write_keys_if_possible
from tests.support.rows import claim, dead, insert, insert_many, pairs, register_manager

pytestmark = pytest.mark.django_db(transaction=True)

TASKS = 12
STEPS = 60
STOP = cancellation_for("stop")


class Racer:
    """One process; ``counts`` says how many times it did what with each task."""

    def __init__(self, seed: int, ids: list[int], key: UUID) -> None:
        self.random = Random(seed)
        self.ids = ids
        self.key = key
        self.counts: Counter[tuple[int, str]] = Counter()

    def step(self, own: BaseDatabaseWrapper) -> None:
        raise NotImplementedError

    def some(self) -> list[int]:
        return self.random.sample(self.ids, self.random.randint(1, len(self.ids)))

    def note(self, what: str, ids: list[int]) -> None:
        self.counts.update((task_id, what) for task_id in ids)


class Operator(Racer):
    """Cancel and requeue tasks, whatever their status; sometimes enqueue a duplicate."""

    def step(self, own: BaseDatabaseWrapper) -> None:
        if self.random.random() < 0.2:
            insert(key=self.key, connection=own)
        if self.random.random() < 0.5:
            found = cancelling.cancel(own, self.some(), STOP)
            self.note("cancelled", [task.id for task in found if not task.is_requested])
            self.note("requested", [task.id for task in found if task.is_requested])
        else:
            requeued = write_keys_if_possible(partial(requeue, own, self.some()))
            self.note("requeued", [task.id for task in requeued])


class Manager(Racer):
    """Run tasks one after another, as a manager does, and hold claimed tasks in between."""

    def __init__(self, seed: int, ids: list[int], key: UUID) -> None:
        super().__init__(seed, ids, key)
        self.id = register_manager()
        self.held: list[TaskRow] = []

    def step(self, own: BaseDatabaseWrapper) -> None:
        chance = self.random.random()
        if self.held and self.random.random() < 0.4:
            self.run(own, self.held.pop())
        elif chance < 0.2:
            self.note("cancelled", end_waiting_tasks(own, self.id))
        elif chance < 0.3:
            claim(own, "default", self.id, 2)
            self.die(own)
        elif chance < 0.45:
            rescued = rescuing.rescue(own, "default", self.id, new_token(), dead())
            for task in rescued:
                self.run(own, task.row)
        else:
            self.held += claim(own, "default", self.id, self.random.randint(1, 4))

    def die(self, own: BaseDatabaseWrapper) -> None:
        self.held.clear()
        leasing.deregister(own, self.id)
        self.id = register_manager(connection=own)

    def run(self, own: BaseDatabaseWrapper, row: TaskRow) -> None:
        """Release a task, end it as requested, or run it: it fails, completes, or will run again."""
        if self.random.random() < 0.2:
            release = partial(settling.release, own, pairs([row]))
            assert write_keys_if_possible(release) == []
            return
        requests = {(one.task_id, one.token) for one in self.requests(own)}
        if (row[ID], row[TOKEN]) in requests:
            change = RowChange(row[ID], row[TOKEN], "error", attempts=0, reason="cancelled")
            self.note("cancelled", [row[ID]])
        else:
            status = self.random.choice(["error"] * 6 + ["new"] * 3 + ["finished"])
            change = RowChange(row[ID], row[TOKEN], status, reason="error" if status == "error" else None)
            self.note(status, [row[ID]])
        assert write_keys_if_possible(partial(apply_changes, own, [change])) == []

    def requests(self, own: BaseDatabaseWrapper) -> list[cancelling.Request]:
        return cancelling.find_requests(own, "default", self.id, 100)


def end_waiting_tasks(own: BaseDatabaseWrapper, manager: UUID) -> list[int]:
    """End waiting tasks that have a cancel request, as a manager does; return their ids."""
    cancelling.delete_stale_requests(own)
    found = cancelling.find_requests(own, "default", manager, 100)
    waiting = [request.task_id for request in found if request.is_waiting]
    return [task.id for task in cancelling.end_waiting(own, waiting, STOP)]


@pytest.mark.parametrize("seed", range(4))
def test_each_end_of_a_task_is_followed_by_a_requeue_or_is_the_last(seed):
    key = uuid4()
    ids = [insert(key=key).pk, *insert_many(TASKS - 1)]
    kinds = [Manager, Manager, Manager, Operator, Operator]
    racers = [kind(10 * seed + number, ids, key) for number, kind in enumerate(kinds)]

    race([racer.step for racer in racers], STEPS)

    # What remains: tasks held by managers, dead or alive, and requests for waiting tasks.
    for racer in racers:
        if isinstance(racer, Manager):
            for row in racer.held:
                racer.run(of_the_test, row)
    last = Manager(seed, ids, key)
    for rescued in rescuing.rescue(of_the_test, "default", last.id, new_token(), dead()):
        last.run(of_the_test, rescued.row)
    last.note("cancelled", end_waiting_tasks(of_the_test, last.id))
    counts: Counter[tuple[int, str]] = sum((racer.counts for racer in (*racers, last)), Counter())
    print(f"seed {seed}: {counts}")
    tasks = list(Task.objects.filter(pk__in=ids))
    assert len(tasks) == TASKS
    for task in tasks:
        done = {what: counts[task.pk, what] for what in ("error", "new", "finished", "cancelled", "requeued")}
        assert task.status in ("new", "error", "finished"), done
        assert task.attempts == done["error"] + done["new"] + done["finished"], done
        ends = done["error"] + done["cancelled"]
        assert done["requeued"] == ends - (task.status == "error"), done
        assert done["finished"] == (task.status == "finished"), done
        assert (task.error_reason == "cancelled") <= (task.status == "error"), done
    waiting = {task.pk for task in tasks if task.status == "new"}
    assert waiting.isdisjoint(CancelRequest.objects.values_list("task_id", flat=True))
    assert sum(number for (_, what), number in counts.items() if what == "requested") > TASKS
    assert sum(number for (_, what), number in counts.items() if what == "cancelled") > TASKS


def test_a_task_of_which_a_cancel_says_that_it_ended_is_never_claimed_again():
    """Only a requeue makes the task wait again."""
    ids = insert_many(200)
    one, other = register_manager(), register_manager()
    taken: list[int] = []
    cancelled: list[int] = []
    requested: list[int] = []

    def take(own: BaseDatabaseWrapper, manager: UUID) -> None:
        taken.extend(row[ID] for row in claim(own, "default", manager, 3))

    def cancel(own: BaseDatabaseWrapper, random: Random) -> None:
        for task in cancelling.cancel(own, random.sample(ids, 5), STOP):
            (requested if task.is_requested else cancelled).append(task.id)

    takers = [partial(take, manager=manager) for manager in (one, other)]
    race([*takers, *(partial(cancel, random=Random(seed)) for seed in (1, 2))], times=60)

    assert set(taken).isdisjoint(cancelled)
    assert set(requested) <= {*taken, *cancelled}
    assert len(cancelled) == len(set(cancelled))
    assert {*taken, *cancelled} == set(ids), "each was either claimed or cancelled"
