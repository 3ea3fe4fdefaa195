"""Concurrent claims, settlements and requeues: no run is lost, and none is repeated."""

from collections import Counter
from functools import partial
from random import Random
from uuid import UUID, uuid4

import pytest
from django.db.backends.base.base import BaseDatabaseWrapper

from django_partisan.models import Task
from django_partisan.sql.claiming import ID, TOKEN
from django_partisan.sql.requeueing import requeue
from django_partisan.sql.row_changes import RowChange
from django_partisan.sql.settling import apply_changes
from tests.db.core.racing import race, write_keys_if_possible
from tests.support.rows import claim, insert, insert_many, register_manager

pytestmark = pytest.mark.django_db(transaction=True)

TASKS = 12
STEPS = 60


class Racer:
    """One process: a manager that runs tasks, or an operator who requeues them."""

    def __init__(self, seed: int, ids: list[int], key: UUID, manager: UUID | None) -> None:
        self.random = Random(seed)
        self.ids = ids
        self.key = key
        self.manager = manager
        self.runs: Counter[tuple[int, str]] = Counter()
        """How many runs of a task were settled with a status."""
        self.requeued: Counter[int] = Counter()

    def step(self, own: BaseDatabaseWrapper) -> None:
        if self.manager is None:
            self.requeue(own)
        else:
            self.run(own, self.manager)

    def run(self, own: BaseDatabaseWrapper, manager: UUID) -> None:
        """Claim some tasks, and settle each as failed, completed or, rarely, to run again."""
        for row in claim(own, "default", manager, self.random.randint(1, 4)):
            status = self.random.choice(["error"] * 6 + ["new", "finished"])
            change = RowChange(row[ID], row[TOKEN], status).after(
                "failed" if status == "error" else "retried"
            )
            assert write_keys_if_possible(partial(apply_changes, own, [change])) == []
            self.runs[row[ID], status] += 1

    def requeue(self, own: BaseDatabaseWrapper) -> None:
        """Requeue some tasks, whether failed or not; sometimes with a waiting duplicate of the first one."""
        if self.random.random() < 0.3:
            insert(key=self.key, connection=own)
        ids = self.random.sample(self.ids, self.random.randint(1, len(self.ids)))
        requeued = write_keys_if_possible(partial(requeue, own, ids))
        self.requeued.update(task.id for task in requeued)


@pytest.mark.parametrize("seed", range(3))
def test_every_requeue_follows_a_failure_and_leads_to_one_further_run(seed):
    key = uuid4()
    ids = [insert(key=key).pk, *insert_many(TASKS - 1)]
    managers = [register_manager(), register_manager(), None, None]
    racers = [Racer(10 * seed + number, ids, key, one) for number, one in enumerate(managers)]

    race([racer.step for racer in racers], STEPS)

    runs: Counter[tuple[int, str]] = Counter()
    requeued: Counter[int] = Counter()
    for racer in racers:
        runs.update(racer.runs)
        requeued.update(racer.requeued)
    tasks = list(Task.objects.filter(pk__in=ids))
    assert len(tasks) == TASKS
    assert sum(requeued.values()) > TASKS
    for task in tasks:
        statuses = {status: runs[task.pk, status] for status in ("error", "new", "finished")}
        assert task.attempts == sum(statuses.values())
        assert requeued[task.pk] == statuses["error"] - (task.status == "error")
        assert statuses["finished"] == (task.status == "finished")
