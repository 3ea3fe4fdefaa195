"""Leases and rescues against the real table: who is buried, what is taken over, what is kept."""

import socket
import tempfile
import uuid
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from django.db import OperationalError, connection

from django_partisan.engine.manager.lease import Lease
from django_partisan.engine.presence import PresenceFile, WorkerPage, is_gone
from django_partisan.models import ManagerLease, Task
from django_partisan.sql import leasing
from django_partisan.sql.claiming import ATTEMPTS, CRASHES, ID, TOKEN, claim
from django_partisan.sql.leasing import Orphan
from tests.support.engine import FakeDatabaseThread as LineByHand
from tests.support.engine import config_of
from tests.support.rows import claimed
from tests.support.rows import insert_many as enqueue
from tests.support.rows import register_manager as manager_row
from tests.support.rows import statuses_of as statuses

pytestmark = pytest.mark.django_db


class Side:
    """A lease whose calls are made with the connection of the test."""

    def __init__(self) -> None:
        self.line = LineByHand()
        self.orphans: list[Orphan] = []
        self.kept: list[set[int]] = []
        self.failures: list[Exception] = []
        self.lease = Lease(
            config_of(),
            self.line,
            uuid.uuid4(),
            self.orphans.extend,
            self._keep,
            self.failures.append,
        )

    def _keep(self, ids: set[int]) -> int:
        self.kept.append(ids)
        return len(ids)

    def call(self) -> Any:
        """Make the call under way and answer it."""
        result = self.line.call(connection)
        self.line.answer(result)
        return result

    def beat(self) -> Any:
        self.lease.beat_soon()
        self.lease.turn(0.0)
        return self.call()


@pytest.fixture(autouse=True)
def temporary_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))


@pytest.fixture
def side() -> Side:
    return Side()


@pytest.fixture
def dead() -> Iterator[uuid.UUID]:
    """Name a presence file whose manager died while its worker ran the task with id 7."""
    name = uuid.uuid4()
    file = PresenceFile(name, 2)
    WorkerPage(file.fd, 1).begin(7, 1.0)
    path, stored = file.path, file.path.read_bytes()
    file.remove()
    path.write_bytes(stored)
    yield name
    path.unlink(missing_ok=True)


def test_the_first_beat_registers_the_manager_once(side):
    side.beat()
    side.beat()

    stored = ManagerLease.objects.get()
    assert (stored.pk, stored.host, stored.lease_seconds) == (side.lease.id, socket.gethostname(), 30)
    assert side.orphans == []


def test_it_takes_over_what_a_manager_held_that_is_proven_gone_and_counts_what_had_begun(side, dead):
    gone = manager_row(lock_name=dead, host=socket.gethostname())
    Task.objects.filter(pk__in=enqueue(1)).update(id=7)
    [begun] = claim(connection, "default", gone, 1)
    [waiting] = claimed(1, gone)

    side.beat()

    assert [orphan.previous_manager for orphan in side.orphans] == [gone, gone]
    found = {row[ID]: row for _, row in side.orphans}
    assert (found[7][ATTEMPTS], found[7][CRASHES]) == (1, 1)
    assert (found[waiting[ID]][ATTEMPTS], found[waiting[ID]][CRASHES]) == (0, 0)
    assert found[7][TOKEN] != begun[TOKEN]
    assert list(ManagerLease.objects.values_list("pk", flat=True)) == [side.lease.id]
    assert not list(Path(tempfile.gettempdir()).glob("*/*.lock"))


def test_what_a_manager_of_this_host_holds_that_lives_stays_its_own(side):
    name = uuid.uuid4()
    file = PresenceFile(name, 1)
    alive = manager_row(lock_name=name, host=socket.gethostname())
    claimed(1, alive)

    side.beat()

    file.remove()
    assert side.orphans == []
    assert ManagerLease.objects.filter(pk=alive).exists()


def test_a_manager_elsewhere_is_gone_when_its_lease_ran_out_and_not_before(side):
    living, expired = manager_row(), manager_row(lease_seconds=-1)
    claimed(1, living)
    [row] = claimed(1, expired)

    side.beat()

    assert [(orphan.previous_manager, orphan.row[ID]) for orphan in side.orphans] == [(expired, row[ID])]
    assert set(ManagerLease.objects.values_list("pk", flat=True)) == {living, side.lease.id}


def test_tasks_of_a_manager_without_a_row_are_taken_over(side):
    rows = claimed(2)
    ManagerLease.objects.all().delete()

    side.beat()

    assert [orphan.row[ID] for orphan in side.orphans] == [row[ID] for row in rows]


def test_a_manager_that_was_buried_takes_a_new_identity_and_keeps_what_nobody_took_over(side):
    side.beat()
    before = side.lease.id
    kept, taken = claimed(2, before)
    ManagerLease.objects.all().delete()
    Task.objects.filter(pk=taken[ID]).update(claimed_by=manager_row())

    assert not side.beat().is_alive
    side.lease.turn(0.0)
    side.call()

    assert side.lease.id != before
    assert side.kept == [{kept[ID]}]
    assert ManagerLease.objects.filter(pk=side.lease.id).exists()
    assert side.beat().is_alive
    assert side.orphans == []


def test_tasks_are_kept_though_the_first_answer_was_lost_with_its_connection(side, monkeypatch):
    side.beat()
    [row] = claimed(1, side.lease.id)
    ManagerLease.objects.all().delete()
    side.beat()
    side.lease.turn(0.0)
    side.line.call(connection)
    lost = OperationalError("the connection is lost")
    side.line.answer(lost)
    side.lease.beat_soon()
    side.lease.turn(0.0)
    side.call()

    assert side.failures == [lost]
    assert side.kept == [{row[ID]}]


def test_what_is_ours_by_the_table_and_unknown_here_is_found(side):
    side.beat()
    known, unknown = claimed(2, side.lease.id)
    found: list[Any] = []
    side.lease.find_unheard([known[ID]], found.extend)
    side.call()

    assert [row[ID] for row in found] == [unknown[ID]]
    assert found[0][TOKEN] > unknown[TOKEN]


def test_stopping_gives_up_the_row_and_leaves_the_tasks_to_others(side):
    side.beat()
    [row] = claimed(1, side.lease.id)
    side.lease.stop()
    side.call()

    assert not ManagerLease.objects.exists()
    assert statuses(row[ID]) == ["in_process"]


def test_the_file_of_a_dead_manager_stays_as_a_proof_until_its_tasks_are_taken_over(side, dead, monkeypatch):
    manager_row(lock_name=dead, host=socket.gethostname())

    def fail(*_: Any) -> None:
        raise OperationalError("gone")

    monkeypatch.setattr(leasing, "adopt", fail)
    side.lease.turn(0.0)
    with pytest.raises(OperationalError):
        side.line.call(connection)

    assert is_gone(dead)
