"""A manager's lease: when heartbeats are sent, which tasks are rescued, and what a lost lease means."""

import socket
import time
import uuid
from pathlib import Path

import pytest
from django.db import ProgrammingError, connection

from django_partisan.engine import boot_clock
from django_partisan.engine.liveness import is_dead
from django_partisan.engine.manager.claim_tokens import ClaimTokens
from django_partisan.engine.manager.component import NEVER
from django_partisan.engine.manager.lease import RETRY_SECONDS, WATCH_SECONDS, Lease, LeaseOwner
from django_partisan.engine.manager.outage import ClaimOutage, SharedOutage
from django_partisan.engine.presence import PresenceFile, WorkerPage
from django_partisan.models import ManagerLease, Task
from django_partisan.outcomes import REASON_MANAGER_LOST
from django_partisan.sql.claiming import ATTEMPTS, CRASHES, ID, TOKEN
from django_partisan.sql.connection import execute, identity_of
from django_partisan.sql.leasing import HeartbeatResult
from django_partisan.sql.rescuing import RescuedTask
from django_partisan.telemetry.events.managers import DatabaseRestored, LeaseLost
from django_partisan.telemetry.events.queues import ClaimFailed
from tests.support.engine import AWAY, CANCELLED, FakeDatabaseThread, config_of
from tests.support.events import RecordedEvents
from tests.support.rows import claim, claimed, columns, insert, register_manager, statuses_of

pytestmark = [pytest.mark.django_db, pytest.mark.usefixtures("temporary_folder")]

BEGUN = 10**12
HERE = socket.gethostname()


class Clock:
    """The clock of leases, which the test can advance."""

    def __init__(self) -> None:
        self.ahead = 0.0

    def now(self) -> float:
        return boot_clock.now() + self.ahead


class Harness:
    """A lease whose calls use the test's connection, unless the test answers them.

    The test acts as the manager's intake; ``held_ids`` are the ids of its tasks.
    """

    def __init__(self, clock: Clock) -> None:
        self.thread = FakeDatabaseThread()
        self.outage = ClaimOutage(SharedOutage("default"))
        self.rescues: list[RescuedTask] = []
        self.held_ids: set[int] = set()
        self.revoked: list[set[int]] = []
        self.extensions: list[float] = []
        self.paused: list[bool] = []
        self.answers: list[HeartbeatResult] = []
        self.tokens = ClaimTokens()
        owner = LeaseOwner(
            lambda: set(self.held_ids),
            self.extensions.append,
            lambda rescued, since: self.rescues.extend(rescued),
            self._on_revoked,
            self.paused.append,
            self.answers.append,
        )
        config = config_of(lease_seconds=30)
        self.lease = Lease(config, self.thread, uuid.uuid4(), self.outage, self.tokens, owner, clock.now)

    def _on_revoked(self, ids: set[int]) -> int:
        self.revoked.append(ids)
        return 3

    def turn(self, later: float = 0.0) -> str | None:
        self.lease.turn(time.monotonic() + later)
        return self.thread.pending_call

    def call(self) -> None:
        """Execute the pending call and answer it."""
        self.thread.answer(self.thread.call(connection))

    def beat(self) -> Lease:
        self.lease.heartbeat_soon()
        assert self.turn() == "send"
        self.call()
        return self.lease

    def loses_its_row(self) -> None:
        ManagerLease.objects.filter(pk=self.lease.id).delete()
        self.beat()
        assert not self.lease.is_held
        assert self.turn() == "renew"

    def seconds_to_next(self) -> float:
        return self.lease.next_at() - time.monotonic()

    def rescued(self) -> list[int]:
        return [task.row[ID] for task in self.rescues]


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def harness(clock: Clock) -> Harness:
    return Harness(clock)


@pytest.fixture
def dead() -> uuid.UUID:
    """Return the name of a presence file whose manager died while its worker ran the task ``BEGUN``."""
    name = uuid.uuid4()
    file = PresenceFile(name, 2)
    WorkerPage(file.fd, 1).begin(BEGUN, 1.0)
    stored = file.path.read_bytes()
    file.remove()
    file.path.write_bytes(stored)
    return name


def test_the_manager_is_registered_once_and_sends_a_heartbeat_at_every_third_of_its_lease(harness):
    assert not harness.lease.is_held
    harness.beat()
    harness.beat()

    stored = ManagerLease.objects.get()
    assert (stored.pk, stored.host, stored.lease_seconds) == (harness.lease.id, HERE, 30)
    assert harness.lease.is_held
    assert harness.lease.is_idle
    assert harness.turn() is None
    assert 9 < harness.seconds_to_next() <= 10
    assert harness.turn(later=10) == "send"
    assert harness.lease.next_at() == NEVER
    harness.turn(later=20)
    assert len(harness.thread.calls) == 1


def test_each_heartbeat_brings_the_other_managers_of_the_queue(harness):
    harness.beat()
    one = register_manager()
    harness.beat()

    assert [[other.id for other in found.others] for found in harness.answers] == [[], [one]]


def test_what_a_manager_held_that_is_proven_dead_is_rescued_and_what_had_begun_counts_a_crash(harness, dead):
    held_by = register_manager(lock_name=dead, host=HERE)
    Task.objects.filter(pk=insert().pk).update(id=BEGUN)
    [begun] = claim(connection, "default", held_by, 1)
    [waiting] = claimed(1, held_by)

    harness.beat()

    assert [task.previous_manager for task in harness.rescues] == [held_by, held_by]
    found = {row[ID]: row for _, row, _ in harness.rescues}
    assert (found[BEGUN][ATTEMPTS], found[BEGUN][CRASHES]) == (1, 1)
    assert (found[waiting[ID]][ATTEMPTS], found[waiting[ID]][CRASHES]) == (0, 0)
    assert found[BEGUN][TOKEN] != begun[TOKEN]
    assert list(ManagerLease.objects.values_list("pk", flat=True)) == [harness.lease.id]
    assert is_dead(dead) is False, "its file is removed"


def test_the_file_of_a_dead_manager_stays_as_a_proof_until_its_tasks_are_rescued(harness, dead):
    register_manager(lock_name=dead, host=HERE)
    harness.turn()
    execute(connection, "ALTER TABLE django_partisan_task RENAME COLUMN crashes TO gone")

    with pytest.raises(ProgrammingError, match="crashes"):
        harness.thread.call(connection)

    assert is_dead(dead)


def test_a_manager_of_this_host_is_rescued_as_soon_as_it_dies_and_not_while_it_lives(
    harness, temporary_folder: Path
):
    name = uuid.uuid4()
    file = PresenceFile(name, 1)
    [task] = claimed(1, register_manager(lock_name=name, host=HERE))
    register_manager(host="elsewhere")
    harness.beat()
    assert harness.turn(later=WATCH_SECONDS) is None
    assert harness.rescued() == []
    assert harness.seconds_to_next() <= 2 * WATCH_SECONDS
    file.remove()
    file.path.write_bytes(b"")

    assert harness.turn(later=2 * WATCH_SECONDS) == "send"
    harness.call()

    assert harness.rescued() == [task[ID]]


def test_a_new_manager_removes_the_files_of_those_whose_rows_were_removed_from_another_host(
    harness, temporary_folder: Path
):
    database = identity_of(connection)
    names = rescued, waiting, of_another_database = [uuid.uuid4() for _ in range(3)]
    files = [PresenceFile(name, 1, database) for name in names[:2]]
    files.append(PresenceFile(of_another_database, 1))
    for file in files:
        file.close()
    register_manager(lock_name=waiting, host="elsewhere")

    harness.beat()

    left = {path.stem for path in files[0].path.parent.iterdir()}
    assert left == {str(waiting), str(of_another_database)}
    assert str(rescued) not in left


def test_a_manager_elsewhere_is_dead_without_a_row_or_when_its_lease_has_expired_and_not_before(harness):
    harness.beat()
    managers = living, expired, deleted = [register_manager(lease_seconds=n) for n in (30, -1, 30)]
    for manager in managers:
        claimed(1, manager)
    ManagerLease.objects.filter(pk=deleted).delete()

    harness.beat()

    assert [task.previous_manager for task in harness.rescues] == [expired, deleted]
    assert set(ManagerLease.objects.values_list("pk", flat=True)) == {living, harness.lease.id}
    ManagerLease.objects.filter(pk=living).delete()
    harness.beat()
    assert harness.rescues[2].previous_manager == living


def test_a_new_manager_claims_nothing_until_those_who_may_have_been_cut_off_had_time_to_come_back(
    harness, clock: Clock
):
    back, gone = (register_manager(lease_seconds=-1) for _ in range(2))
    claimed(1, back)
    [task] = claimed(1, gone)
    harness.beat()
    assert not harness.lease.is_held
    assert not harness.lease.is_idle
    assert harness.rescues == harness.extensions == []
    assert 9 < harness.seconds_to_next() <= 10

    ManagerLease.objects.filter(pk=back).update(lease_seconds=30)
    clock.ahead += 10
    assert harness.turn(later=10) == "send"
    harness.call()

    assert harness.rescued() == [task[ID]]
    assert harness.lease.is_held


def test_a_new_manager_waits_for_nobody_who_holds_no_task(harness):
    register_manager(lease_seconds=-1)

    assert harness.beat().is_held
    assert harness.beat().is_held
    assert list(ManagerLease.objects.values_list("pk", flat=True)) == [harness.lease.id]


def test_a_manager_that_comes_back_from_a_gap_rescues_from_nobody_until_one_lease_later(
    harness, clock: Clock
):
    harness.beat()
    [task] = claimed(1, register_manager(lease_seconds=-1))
    clock.ahead += 25

    harness.beat()

    assert harness.lease.is_held
    assert harness.rescues == []
    for _ in range(3):
        clock.ahead += 10
        harness.beat()
    assert harness.rescued() == [task[ID]]


def test_a_heartbeat_that_is_not_answered_is_sent_again_after_a_second(harness):
    harness.beat()
    harness.lease.heartbeat_soon()
    harness.turn()
    harness.thread.answer(AWAY)

    assert harness.tokens.listed() == []
    assert harness.lease.is_held, "until the lease has expired"
    assert not harness.outage.is_on
    assert harness.turn() is None
    assert 0 < harness.seconds_to_next() <= RETRY_SECONDS
    assert harness.turn(later=RETRY_SECONDS) == "send"


def test_while_the_lease_is_not_held_a_heartbeat_that_is_not_answered_is_an_outage(
    harness, recorded_events: RecordedEvents
):
    harness.turn()
    harness.thread.answer(AWAY)
    assert len(recorded_events.of(ClaimFailed)) == 1
    assert not harness.lease.is_idle

    harness.beat()

    assert len(recorded_events.of(DatabaseRestored)) == 1
    assert harness.lease.is_idle


def test_a_heartbeat_does_not_end_an_outage_of_claims(harness, recorded_events: RecordedEvents):
    harness.outage.fail(AWAY)

    harness.beat()

    assert harness.outage.is_on
    assert recorded_events.of(DatabaseRestored) == []


def test_a_manager_that_drains_is_held_up_by_no_lease(harness):
    harness.turn()
    harness.lease.stop()
    harness.thread.answer(AWAY)

    assert harness.lease.is_idle
    assert not harness.outage.is_on


def test_a_rescue_whose_answer_was_lost_is_named_as_such(harness):
    harness.beat()
    claimed(1, register_manager(lease_seconds=-1))
    harness.lease.heartbeat_soon()
    harness.turn()
    harness.thread.call(connection)

    harness.thread.answer(AWAY)

    [token] = harness.tokens.listed()
    assert harness.tokens.reason(token) == REASON_MANAGER_LOST


def test_a_fault_of_ours_in_a_heartbeat_is_raised(harness):
    harness.turn()

    with pytest.raises(ZeroDivisionError):
        harness.thread.answer(ZeroDivisionError())


def test_the_lease_lasts_from_when_the_heartbeat_was_sent(harness, clock: Clock):
    sent_at = clock.now()
    harness.turn()
    clock.ahead += 20
    harness.call()

    assert sent_at + 30 <= harness.extensions[0] < sent_at + 50
    assert harness.lease.is_held
    clock.ahead += 10.0
    assert not harness.lease.is_held


def test_after_an_expired_lease_nothing_starts_until_the_table_has_said_which_tasks_are_still_ours(
    harness, clock: Clock, recorded_events: RecordedEvents
):
    before = harness.beat().id
    kept, taken, settled = claimed(3, before)
    harness.held_ids = {kept[ID], taken[ID], settled[ID]}
    Task.objects.filter(pk=taken[ID]).update(claimed_by=register_manager())
    Task.objects.filter(pk=settled[ID]).update(status="finished")
    clock.ahead += 31
    assert not harness.lease.is_held

    harness.beat()
    assert not harness.lease.is_held
    assert len(harness.extensions) == 1
    assert harness.turn() == "renew"
    harness.held_ids.remove(settled[ID])
    harness.call()

    assert harness.revoked == [{taken[ID]}]
    assert harness.lease.is_held
    assert harness.lease.id == before
    assert harness.extensions[-1] > clock.now()
    assert len(recorded_events.of(LeaseLost)) == 1


def test_an_expired_lease_under_which_nobody_took_anything_is_no_loss(
    harness, clock: Clock, recorded_events: RecordedEvents
):
    [task] = claimed(1, harness.beat().id)
    harness.held_ids = {task[ID]}
    clock.ahead += 31

    harness.beat()
    assert harness.turn() == "renew"
    harness.call()

    assert harness.revoked == [set()]
    assert harness.lease.is_held
    assert recorded_events.of(LeaseLost) == []


def test_a_lost_lease_is_as_old_as_it_was_when_the_loss_was_noticed(
    harness, recorded_events: RecordedEvents, clock: Clock
):
    harness.beat()
    harness.loses_its_row()
    clock.ahead += 1000  # the renewal takes this long

    harness.call()

    assert 0 <= recorded_events.of(LeaseLost)[0].seconds_since_heartbeat < 1000


def test_a_lost_lease_is_replaced_under_a_new_identity_which_keeps_what_nobody_took_over(
    harness, recorded_events: RecordedEvents
):
    before = harness.beat().id
    kept, taken = claimed(2, before)
    harness.held_ids = {kept[ID], taken[ID]}
    Task.objects.filter(pk=taken[ID]).update(claimed_by=register_manager())

    harness.loses_its_row()
    harness.call()

    assert harness.lease.id != before
    assert harness.lease.is_held
    assert harness.revoked == [{taken[ID]}]
    assert columns(kept[ID], "claimed_by") == harness.lease.id
    [lost] = recorded_events.of(LeaseLost)
    assert (lost.queue, lost.held) == ("default", 3)
    assert 0 <= lost.seconds_since_heartbeat < 60
    assert ManagerLease.objects.filter(pk=harness.lease.id).exists()
    assert harness.beat().is_held
    assert harness.rescues == []


def test_tasks_are_kept_though_the_first_answer_to_the_renewal_was_lost(
    harness, recorded_events: RecordedEvents
):
    [task] = claimed(1, harness.beat().id)
    harness.held_ids = {task[ID]}
    harness.loses_its_row()
    harness.thread.call(connection)
    harness.thread.answer(AWAY)
    assert harness.outage.is_on
    assert harness.turn() is None
    assert not harness.lease.is_held

    assert harness.turn(later=RETRY_SECONDS) == "renew"
    harness.call()

    assert harness.revoked == [set()]
    assert len(recorded_events.of(LeaseLost)) == 1
    assert not harness.outage.is_on


def test_deregistering_deletes_the_row_and_leaves_the_tasks_to_other_managers(harness):
    [task] = claimed(1, harness.beat().id)
    harness.lease.stop()
    harness.lease.deregister()
    harness.call()

    assert not ManagerLease.objects.exists()
    assert statuses_of(task[ID]) == ["in_process"]
    assert harness.turn(later=100) is None
    assert harness.lease.next_at() == NEVER


def test_a_new_manager_gives_the_others_their_time_again_if_the_database_goes_away_meanwhile(
    harness, clock: Clock
):
    [task] = claimed(1, register_manager(lease_seconds=-1))
    harness.beat()
    clock.ahead += 40
    harness.lease.heartbeat_soon()
    harness.turn()
    harness.thread.answer(AWAY)

    harness.beat()
    assert harness.rescues == []
    assert not harness.lease.is_held

    clock.ahead += 10
    assert harness.beat().is_held
    assert harness.rescued() == [task[ID]]


def test_a_manager_whose_renewal_took_long_rescues_from_nobody_until_one_lease_later(harness, clock: Clock):
    harness.beat()
    [task] = claimed(1, register_manager(lease_seconds=-1))
    clock.ahead += 40
    harness.beat()
    assert harness.turn() == "renew"
    harness.thread.answer(AWAY)
    clock.ahead += 40
    assert harness.turn(later=RETRY_SECONDS) == "renew"
    harness.call()

    harness.beat()

    assert harness.rescues == []
    assert harness.turn() == "renew"
    harness.call()
    clock.ahead += 15
    harness.beat()
    clock.ahead += 16
    harness.beat()
    assert harness.rescued() == [task[ID]]


def test_a_heartbeat_that_was_given_up_rescues_nobody_when_it_goes_on(harness):
    harness.beat()
    [task] = claimed(1, register_manager(lease_seconds=-1))
    harness.lease.heartbeat_soon()
    harness.turn()
    call = harness.thread.call
    harness.thread.answer(AWAY)

    call(connection)

    assert harness.tokens.listed() == []
    assert columns(task[ID], "claim_token") == task[TOKEN], "its answer goes nowhere"
    assert harness.beat().is_held
    assert harness.rescued() == [task[ID]]


def test_a_rescue_that_statement_timeout_cancels_takes_fewer_tasks_next_time(harness, dead):
    rows = claimed(3, register_manager(lock_name=dead, host=HERE))
    Task.objects.filter(pk=rows[2][ID]).update(id=BEGUN)
    while harness.lease._rescue._limit.rows > 2:
        harness.lease.heartbeat_soon()
        harness.turn()
        harness.lease._rescue._is_tried = True
        harness.thread.answer(CANCELLED)

    assert harness.beat().is_held
    assert harness.rescued() == [rows[0][ID], rows[1][ID]]
    assert is_dead(dead), "its file still proves that it is dead, and what it had begun"
    assert harness.turn() == "send"
    harness.call()

    assert harness.rescued() == [rows[0][ID], rows[1][ID], BEGUN]
    assert columns(BEGUN, "crashes", "takeovers") == (1, 0)
    assert is_dead(dead) is False
