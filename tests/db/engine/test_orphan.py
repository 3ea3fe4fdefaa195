"""A worker whose manager is gone settles what it ran and gives back the rest."""

import time
from types import SimpleNamespace
from typing import Any

import pytest
from django.db import OperationalError

from django_partisan.engine.settling import write_outcomes
from django_partisan.engine.worker import manager_lost
from django_partisan.engine.worker.manager_lost import settle_as_orphan
from django_partisan.models import ManagerLease
from django_partisan.sql.claiming import ID, TOKEN
from django_partisan.sql.settling import RowChange
from tests.support.engine import config_of
from tests.support.rows import claimed
from tests.support.rows import statuses_of as statuses

pytestmark = pytest.mark.django_db(transaction=True)


def test_all_is_settled_under_the_claims_of_the_manager_that_is_gone():
    done, failed, waits = claimed(3)
    ManagerLease.objects.all().delete()
    outcome = RowChange(failed[ID], failed[TOKEN], "error", reason="error")

    settle_as_orphan(config_of(), [(done[ID], done[TOKEN])], [tuple(outcome)], [waits])

    assert statuses(done[ID], failed[ID], waits[ID]) == ["finished", "error", "new"]


def test_without_a_database_it_tries_until_the_database_is_back(monkeypatch):
    [row] = claimed()
    failures = [OperationalError("away"), OperationalError("away")]

    def write(*values: Any) -> Any:
        if failures:
            raise failures.pop()
        return write_outcomes(*values)

    monkeypatch.setattr(manager_lost, "_PAUSE_SECONDS", 0.01)
    monkeypatch.setattr(manager_lost, "write_outcomes", write)
    settle_as_orphan(config_of(), [(row[ID], row[TOKEN])], [], [])

    assert statuses(row[ID]) == ["finished"]


def test_when_the_lease_is_over_somebody_else_has_the_tasks_and_it_gives_up(monkeypatch):
    now = time.monotonic()
    clock = iter([now, now + 1, now + 29, now + 31])

    def away(*_: Any) -> None:
        raise OperationalError("away")

    monkeypatch.setattr(manager_lost, "write_outcomes", away)
    monkeypatch.setattr(
        manager_lost, "time", SimpleNamespace(monotonic=clock.__next__, sleep=lambda seconds: None)
    )

    with pytest.raises(OperationalError, match="away"):
        settle_as_orphan(config_of(lease_seconds=30), [], [], [])
    assert list(clock) == []
