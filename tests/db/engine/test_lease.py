"""A manager's lease: when heartbeats are sent, who is rescued, and what a lost lease means."""

import socket
import time
import uuid
from pathlib import Path

import pytest
from django.db import ProgrammingError, connection

from django_partisan.engine import boot_clock
from django_partisan.engine.manager.component import NEVER
from django_partisan.engine.manager.lease import RETRY_SECONDS, WATCH_SECONDS, Lease, LeaseOwner
from django_partisan.engine.presence import PresenceFile, WorkerPage, is_dead
from django_partisan.models import ManagerLease, Task
from django_partisan.sql.claiming import ATTEMPTS, CRASHES, ID, TOKEN, claim
from django_partisan.sql.connection import execute
from django_partisan.sql.leasing import RescuedTask
from django_partisan.telemetry.events import LeaseLost
from tests.support.engine import AWAY, FakeDatabaseThread, config_of
from tests.support.events import RecordedEvents
from tests.support.rows import claimed, insert, register_manager, statuses_of
from tests.support.waiting import let_pass

pytestmark = [pytest.mark.django_db, pytest.mark.usefixtures("temporary_folder")]

BEGUN = 10**12
HERE = socket.gethostname()


class Play:
    """A lease whose calls are made with the connection of the test, unless the test answers them."""

    def __init__(self) -> None:
        self.thread = FakeDatabaseThread()
        self.rescues: list[RescuedTask] = []
        self.kept: list[set[int]] = []
        self.failures: list[Exception] = []
        self.ends: list[float] = []
        owner = LeaseOwner(self.rescues.extend, self._renewed, self.failures.append, self.ends.append)
        self.lease = Lease(config_of(lease_seconds=30), self.thread, uuid.uuid4(), owner)

    def _renewed(self, ids: set[int]) -> int:
        self.kept.append(ids)
        return 3

    def turn(self, later: float = 0.0) -> str | None:
        self.lease.turn(time.monotonic() + later)
        return self.thread.asked

    def call(self) -> None:
        """Make the call under way and answer it."""
        self.thread.answer(self.thread.call(connection))

    def beat(self) -> Lease:
        self.lease.heartbeat_soon()
        assert self.turn() == "_heartbeat"
        self.call()
        return self.lease

    def loses_its_row(self) -> None:
        ManagerLease.objects.filter(pk=self.lease.id).delete()
        self.beat()
        assert not self.lease.is_held
        assert self.turn() == "_renew"

    def seconds_to_next(self) -> float:
        return self.lease.next_at() - time.monotonic()

    def rescued(self) -> list[int]:
        return [task.row[ID] for task in self.rescues]


@pytest.fixture
def play() -> Play:
    return Play()


@pytest.fixture
def dead() -> uuid.UUID:
    """Name a presence file whose manager died while its worker ran the task ``BEGUN``."""
    name = uuid.uuid4()
    file = PresenceFile(name, 2)
    WorkerPage(file.fd, 1).begin(BEGUN, 1.0)
    stored = file.path.read_bytes()
    file.remove()
    file.path.write_bytes(stored)
    return name


def test_the_manager_is_registered_once_and_sends_a_heartbeat_at_every_third_of_its_lease(play):
    assert not play.lease.is_held
    play.beat()
    play.beat()

    stored = ManagerLease.objects.get()
    assert (stored.pk, stored.host, stored.lease_seconds) == (play.lease.id, HERE, 30)
    assert play.lease.is_held
    assert play.lease.is_idle
    assert play.turn() is None
    assert 9 < play.seconds_to_next() <= 10
    assert play.turn(later=10) == "_heartbeat"
    assert play.lease.next_at() == NEVER
    play.turn(later=20)
    assert len(play.thread.calls) == 1


def test_the_lease_is_valid_from_the_moment_at_which_an_answered_heartbeat_was_sent(play):
    before = boot_clock.now()
    assert play.turn() == "_heartbeat"
    sent = boot_clock.now()
    let_pass(0.01)
    play.call()
    play.turn(later=10)
    play.thread.answer(AWAY)

    [end] = play.ends
    assert before + 30 <= end <= sent + 30


def test_what_a_manager_held_that_is_proven_dead_is_rescued_and_what_had_begun_counts_a_crash(play, dead):
    held_by = register_manager(lock_name=dead, host=HERE)
    Task.objects.filter(pk=insert().pk).update(id=BEGUN)
    [begun] = claim(connection, "default", held_by, 1)
    [waiting] = claimed(1, held_by)

    play.beat()

    assert [task.previous_manager for task in play.rescues] == [held_by, held_by]
    found = {row[ID]: row for _, row in play.rescues}
    assert (found[BEGUN][ATTEMPTS], found[BEGUN][CRASHES]) == (1, 1)
    assert (found[waiting[ID]][ATTEMPTS], found[waiting[ID]][CRASHES]) == (0, 0)
    assert found[BEGUN][TOKEN] != begun[TOKEN]
    assert list(ManagerLease.objects.values_list("pk", flat=True)) == [play.lease.id]
    assert is_dead(dead) is False, "its file is removed"


def test_the_file_of_a_dead_manager_stays_as_a_proof_until_its_tasks_are_rescued(play, dead):
    register_manager(lock_name=dead, host=HERE)
    play.turn()
    execute(connection, "ALTER TABLE django_partisan_task RENAME COLUMN crashes TO gone")

    with pytest.raises(ProgrammingError, match="crashes"):
        play.thread.call(connection)

    assert is_dead(dead)


def test_a_manager_of_this_host_is_rescued_as_soon_as_it_dies_and_not_while_it_lives(
    play, temporary_folder: Path
):
    name = uuid.uuid4()
    file = PresenceFile(name, 1)
    [task] = claimed(1, register_manager(lock_name=name, host=HERE))
    register_manager(host="elsewhere")
    play.beat()
    assert play.turn(later=WATCH_SECONDS) is None
    assert play.rescued() == []
    assert play.seconds_to_next() <= 2 * WATCH_SECONDS
    file.remove()
    file.path.write_bytes(b"")

    assert play.turn(later=2 * WATCH_SECONDS) == "_heartbeat"
    play.call()

    assert play.rescued() == [task[ID]]


def test_a_manager_elsewhere_is_dead_without_a_row_or_when_its_lease_has_expired_and_not_before(play):
    managers = living, expired, deleted = [register_manager(lease_seconds=n) for n in (30, -1, 30)]
    for manager in managers:
        claimed(1, manager)
    ManagerLease.objects.filter(pk=deleted).delete()

    play.beat()

    assert [task.previous_manager for task in play.rescues] == [expired, deleted]
    assert set(ManagerLease.objects.values_list("pk", flat=True)) == {living, play.lease.id}
    ManagerLease.objects.filter(pk=living).delete()
    play.beat()
    assert play.rescues[2].previous_manager == living


def test_a_heartbeat_that_is_not_answered_is_sent_again_after_a_second(play):
    play.turn()
    play.thread.answer(AWAY)

    assert play.failures == [AWAY]
    assert not play.lease.is_idle
    play.lease.stop()
    assert play.lease.is_idle, "it holds up no manager that drains"
    assert play.turn() is None
    assert 0 < play.seconds_to_next() <= RETRY_SECONDS
    assert play.turn(later=RETRY_SECONDS) == "_heartbeat"


def test_a_fault_of_ours_in_a_heartbeat_is_raised(play):
    play.turn()

    with pytest.raises(ZeroDivisionError):
        play.thread.answer(ZeroDivisionError())


def test_a_lost_lease_is_as_old_as_it_was_when_the_loss_was_noticed(
    play, recorded_events: RecordedEvents, monkeypatch: pytest.MonkeyPatch
):
    play.beat()
    play.loses_its_row()
    clock = time.monotonic
    monkeypatch.setattr(time, "monotonic", lambda: clock() + 1000)  # the renewal takes that long

    play.call()

    assert 0 <= recorded_events.of(LeaseLost)[0].seconds_since_heartbeat < 1000


def test_a_lost_lease_is_replaced_under_a_new_identity_which_keeps_what_nobody_took_over(
    play, recorded_events: RecordedEvents
):
    before = play.beat().id
    kept, taken = claimed(2, before)
    Task.objects.filter(pk=taken[ID]).update(claimed_by=register_manager())

    play.loses_its_row()
    play.call()

    assert play.lease.id != before
    assert play.lease.is_held
    assert play.kept == [{kept[ID]}]
    [lost] = recorded_events.of(LeaseLost)
    assert (lost.queue, lost.held) == ("default", 3)
    assert 0 <= lost.seconds_since_heartbeat < 60
    assert ManagerLease.objects.filter(pk=play.lease.id).exists()
    assert play.beat().is_held
    assert play.rescues == []


def test_tasks_are_kept_though_the_first_answer_to_the_renewal_was_lost(
    play, recorded_events: RecordedEvents
):
    [task] = claimed(1, play.beat().id)
    play.loses_its_row()
    play.thread.call(connection)
    play.thread.answer(AWAY)
    assert play.failures == [AWAY]
    assert play.turn() is None
    assert not play.lease.is_held

    assert play.turn(later=RETRY_SECONDS) == "_renew"
    play.call()

    assert play.kept == [{task[ID]}]
    assert len(recorded_events.of(LeaseLost)) == 1


def test_deregistering_deletes_the_row_and_leaves_the_tasks_to_other_managers(play):
    [task] = claimed(1, play.beat().id)
    play.lease.stop()
    play.lease.deregister()
    play.call()

    assert not ManagerLease.objects.exists()
    assert statuses_of(task[ID]) == ["in_process"]
    assert play.turn(later=100) is None
    assert play.lease.next_at() == NEVER
