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


class Play:
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
        return self.thread.asked

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
def play(clock: Clock) -> Play:
    return Play(clock)


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
    assert play.turn(later=10) == "send"
    assert play.lease.next_at() == NEVER
    play.turn(later=20)
    assert len(play.thread.calls) == 1


def test_each_heartbeat_brings_the_other_managers_of_the_queue(play):
    play.beat()
    one = register_manager()
    play.beat()

    assert [[other.id for other in found.others] for found in play.answers] == [[], [one]]


def test_what_a_manager_held_that_is_proven_dead_is_rescued_and_what_had_begun_counts_a_crash(play, dead):
    held_by = register_manager(lock_name=dead, host=HERE)
    Task.objects.filter(pk=insert().pk).update(id=BEGUN)
    [begun] = claim(connection, "default", held_by, 1)
    [waiting] = claimed(1, held_by)

    play.beat()

    assert [task.previous_manager for task in play.rescues] == [held_by, held_by]
    found = {row[ID]: row for _, row, _ in play.rescues}
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

    assert play.turn(later=2 * WATCH_SECONDS) == "send"
    play.call()

    assert play.rescued() == [task[ID]]


def test_a_new_manager_removes_the_files_of_those_whose_rows_were_removed_from_another_host(
    play, temporary_folder: Path
):
    database = identity_of(connection)
    names = rescued, waiting, of_another_database = [uuid.uuid4() for _ in range(3)]
    files = [PresenceFile(name, 1, database) for name in names[:2]]
    files.append(PresenceFile(of_another_database, 1))
    for file in files:
        file.close()
    register_manager(lock_name=waiting, host="elsewhere")

    play.beat()

    left = {path.stem for path in files[0].path.parent.iterdir()}
    assert left == {str(waiting), str(of_another_database)}
    assert str(rescued) not in left


def test_a_manager_elsewhere_is_dead_without_a_row_or_when_its_lease_has_expired_and_not_before(play):
    play.beat()
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


def test_a_new_manager_claims_nothing_until_those_who_may_have_been_cut_off_had_time_to_come_back(
    play, clock: Clock
):
    back, gone = (register_manager(lease_seconds=-1) for _ in range(2))
    claimed(1, back)
    [task] = claimed(1, gone)
    play.beat()
    assert not play.lease.is_held
    assert not play.lease.is_idle
    assert play.rescues == play.extensions == []
    assert 9 < play.seconds_to_next() <= 10

    ManagerLease.objects.filter(pk=back).update(lease_seconds=30)
    clock.ahead += 10
    assert play.turn(later=10) == "send"
    play.call()

    assert play.rescued() == [task[ID]]
    assert play.lease.is_held


def test_a_new_manager_waits_for_nobody_who_holds_no_task(play):
    register_manager(lease_seconds=-1)

    assert play.beat().is_held
    assert play.beat().is_held
    assert list(ManagerLease.objects.values_list("pk", flat=True)) == [play.lease.id]


def test_a_manager_that_comes_back_from_a_gap_rescues_from_nobody_until_one_lease_later(play, clock: Clock):
    play.beat()
    [task] = claimed(1, register_manager(lease_seconds=-1))
    clock.ahead += 25

    play.beat()

    assert play.lease.is_held
    assert play.rescues == []
    for _ in range(3):
        clock.ahead += 10
        play.beat()
    assert play.rescued() == [task[ID]]


def test_a_heartbeat_that_is_not_answered_is_sent_again_after_a_second(play):
    play.beat()
    play.lease.heartbeat_soon()
    play.turn()
    play.thread.answer(AWAY)

    assert play.tokens.listed() == []
    assert play.lease.is_held, "until the lease has expired"
    assert not play.outage.is_on
    assert play.turn() is None
    assert 0 < play.seconds_to_next() <= RETRY_SECONDS
    assert play.turn(later=RETRY_SECONDS) == "send"


def test_while_the_lease_is_not_held_a_heartbeat_that_is_not_answered_is_an_outage(
    play, recorded_events: RecordedEvents
):
    play.turn()
    play.thread.answer(AWAY)
    assert len(recorded_events.of(ClaimFailed)) == 1
    assert not play.lease.is_idle

    play.beat()

    assert len(recorded_events.of(DatabaseRestored)) == 1
    assert play.lease.is_idle


def test_a_heartbeat_does_not_end_an_outage_of_claims(play, recorded_events: RecordedEvents):
    play.outage.fail(AWAY)

    play.beat()

    assert play.outage.is_on
    assert recorded_events.of(DatabaseRestored) == []


def test_a_manager_that_drains_is_held_up_by_no_lease(play):
    play.turn()
    play.lease.stop()
    play.thread.answer(AWAY)

    assert play.lease.is_idle
    assert not play.outage.is_on


def test_a_rescue_whose_answer_was_lost_is_named_as_such(play):
    play.beat()
    claimed(1, register_manager(lease_seconds=-1))
    play.lease.heartbeat_soon()
    play.turn()
    play.thread.call(connection)

    play.thread.answer(AWAY)

    [token] = play.tokens.listed()
    assert play.tokens.reason(token) == REASON_MANAGER_LOST


def test_a_fault_of_ours_in_a_heartbeat_is_raised(play):
    play.turn()

    with pytest.raises(ZeroDivisionError):
        play.thread.answer(ZeroDivisionError())


def test_the_lease_lasts_from_when_the_heartbeat_was_sent(play, clock: Clock):
    sent_at = clock.now()
    play.turn()
    clock.ahead += 20
    play.call()

    assert sent_at + 30 <= play.extensions[0] < sent_at + 50
    assert play.lease.is_held
    clock.ahead += 10.0
    assert not play.lease.is_held


def test_after_an_expired_lease_nothing_starts_until_the_table_has_said_which_tasks_are_still_ours(
    play, clock: Clock, recorded_events: RecordedEvents
):
    before = play.beat().id
    kept, taken, settled = claimed(3, before)
    play.held_ids = {kept[ID], taken[ID], settled[ID]}
    Task.objects.filter(pk=taken[ID]).update(claimed_by=register_manager())
    Task.objects.filter(pk=settled[ID]).update(status="finished")
    clock.ahead += 31
    assert not play.lease.is_held

    play.beat()
    assert not play.lease.is_held
    assert len(play.extensions) == 1
    assert play.turn() == "renew"
    play.held_ids.remove(settled[ID])
    play.call()

    assert play.revoked == [{taken[ID]}]
    assert play.lease.is_held
    assert play.lease.id == before
    assert play.extensions[-1] > clock.now()
    assert len(recorded_events.of(LeaseLost)) == 1


def test_an_expired_lease_under_which_nobody_took_anything_is_no_loss(
    play, clock: Clock, recorded_events: RecordedEvents
):
    [task] = claimed(1, play.beat().id)
    play.held_ids = {task[ID]}
    clock.ahead += 31

    play.beat()
    assert play.turn() == "renew"
    play.call()

    assert play.revoked == [set()]
    assert play.lease.is_held
    assert recorded_events.of(LeaseLost) == []


def test_a_lost_lease_is_as_old_as_it_was_when_the_loss_was_noticed(
    play, recorded_events: RecordedEvents, clock: Clock
):
    play.beat()
    play.loses_its_row()
    clock.ahead += 1000  # the renewal takes this long

    play.call()

    assert 0 <= recorded_events.of(LeaseLost)[0].seconds_since_heartbeat < 1000


def test_a_lost_lease_is_replaced_under_a_new_identity_which_keeps_what_nobody_took_over(
    play, recorded_events: RecordedEvents
):
    before = play.beat().id
    kept, taken = claimed(2, before)
    play.held_ids = {kept[ID], taken[ID]}
    Task.objects.filter(pk=taken[ID]).update(claimed_by=register_manager())

    play.loses_its_row()
    play.call()

    assert play.lease.id != before
    assert play.lease.is_held
    assert play.revoked == [{taken[ID]}]
    assert columns(kept[ID], "claimed_by") == play.lease.id
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
    play.held_ids = {task[ID]}
    play.loses_its_row()
    play.thread.call(connection)
    play.thread.answer(AWAY)
    assert play.outage.is_on
    assert play.turn() is None
    assert not play.lease.is_held

    assert play.turn(later=RETRY_SECONDS) == "renew"
    play.call()

    assert play.revoked == [set()]
    assert len(recorded_events.of(LeaseLost)) == 1
    assert not play.outage.is_on


def test_deregistering_deletes_the_row_and_leaves_the_tasks_to_other_managers(play):
    [task] = claimed(1, play.beat().id)
    play.lease.stop()
    play.lease.deregister()
    play.call()

    assert not ManagerLease.objects.exists()
    assert statuses_of(task[ID]) == ["in_process"]
    assert play.turn(later=100) is None
    assert play.lease.next_at() == NEVER


def test_a_new_manager_gives_the_others_their_time_again_if_the_database_goes_away_meanwhile(
    play, clock: Clock
):
    [task] = claimed(1, register_manager(lease_seconds=-1))
    play.beat()
    clock.ahead += 40
    play.lease.heartbeat_soon()
    play.turn()
    play.thread.answer(AWAY)

    play.beat()
    assert play.rescues == []
    assert not play.lease.is_held

    clock.ahead += 10
    assert play.beat().is_held
    assert play.rescued() == [task[ID]]


def test_a_manager_whose_renewal_took_long_rescues_from_nobody_until_one_lease_later(play, clock: Clock):
    play.beat()
    [task] = claimed(1, register_manager(lease_seconds=-1))
    clock.ahead += 40
    play.beat()
    assert play.turn() == "renew"
    play.thread.answer(AWAY)
    clock.ahead += 40
    assert play.turn(later=RETRY_SECONDS) == "renew"
    play.call()

    play.beat()

    assert play.rescues == []
    assert play.turn() == "renew"
    play.call()
    clock.ahead += 15
    play.beat()
    clock.ahead += 16
    play.beat()
    assert play.rescued() == [task[ID]]


def test_a_heartbeat_that_was_given_up_rescues_nobody_when_it_goes_on(play):
    play.beat()
    [task] = claimed(1, register_manager(lease_seconds=-1))
    play.lease.heartbeat_soon()
    play.turn()
    call = play.thread.call
    play.thread.answer(AWAY)

    call(connection)

    assert play.tokens.listed() == []
    assert columns(task[ID], "claim_token") == task[TOKEN], "its answer goes nowhere"
    assert play.beat().is_held
    assert play.rescued() == [task[ID]]


def test_a_rescue_that_statement_timeout_cancels_takes_fewer_tasks_next_time(play, dead):
    rows = claimed(3, register_manager(lock_name=dead, host=HERE))
    Task.objects.filter(pk=rows[2][ID]).update(id=BEGUN)
    while play.lease._rescue._limit.rows > 2:
        play.lease.heartbeat_soon()
        play.turn()
        play.lease._rescue._is_tried = True
        play.thread.answer(CANCELLED)

    assert play.beat().is_held
    assert play.rescued() == [rows[0][ID], rows[1][ID]]
    assert is_dead(dead), "its file still proves that it is dead, and what it had begun"
    assert play.turn() == "send"
    play.call()

    assert play.rescued() == [rows[0][ID], rows[1][ID], BEGUN]
    assert columns(BEGUN, "crashes", "takeovers") == (1, 0)
    assert is_dead(dead) is False
