"""When a manager claims, how many tasks and from where, and when it publishes that it sleeps."""

import time
from collections.abc import Callable
from itertools import count
from typing import Any, cast
from uuid import UUID, uuid4

import pytest
from django.db import OperationalError

from django_partisan.engine import boot_clock
from django_partisan.engine.manager.claim_cursor import FROM_START_SECONDS
from django_partisan.engine.manager.claim_events import ClaimEvents
from django_partisan.engine.manager.claimer import AWAKE_AFTER_FULL_CLAIMS, CLAIM_SECONDS_MAX, Claimer
from django_partisan.engine.manager.component import NEVER
from django_partisan.engine.manager.outage import Outage
from django_partisan.engine.manager.promoter import SOON_SECONDS
from django_partisan.engine.manager.queue_pause import QueuePause
from django_partisan.sql.claiming import QueueCheck, TaskRow
from django_partisan.sql.enqueueing import CHANNEL
from django_partisan.sql.session import answer_seconds
from django_partisan.telemetry.events.managers import DatabaseRestored
from django_partisan.telemetry.events.queues import ClaimErrored, ClaimFailed, PollFoundNothing, TasksClaimed
from tests.support.engine import AWAY, CANCELLED, NOTHING_DUE, FakeDatabaseThread, PromoterHarness
from tests.support.events import RecordedEvents
from tests.support.rows import task_row
from tests.support.waiting import wait_until

FULL = (task_row(7, priority=3), task_row(9, priority=4))
"""As many tasks as fit into the buffer."""
LOCKED_BY_OTHERS = QueueCheck(0, True, None)


class ObservedPause(QueuePause):
    """The pause of a queue; ``before_asked`` is called whenever the claimer asks whether it is on."""

    _is_on = False

    def __init__(self) -> None:
        self.before_asked: Callable[[], object] = lambda: None
        super().__init__()

    @property
    def is_on(self) -> bool:
        self.before_asked()
        return self._is_on

    @is_on.setter
    def is_on(self, is_on: bool) -> None:
        self._is_on = is_on


class Harness(PromoterHarness):
    """A claimer with a real promoter; the test answers both threads and acts as token list and dispatcher."""

    def __init__(self, **settings: Any) -> None:
        super().__init__(**settings)
        self.thread = FakeDatabaseThread()
        self.claiming_id: UUID | None = uuid4()
        self.pause = ObservedPause()
        self.ended: list[tuple[int, bool]] = []
        self.has_room_for = 2
        self.has_idle_worker = True
        self.forgotten: list[int] = []
        self.tokens = count(100)
        self.lease_holds = True
        self.taken: list[list[TaskRow]] = []
        self.sent_at: list[float] = []
        dispatcher = tokens = cast(Any, self)
        self.events = ClaimEvents(self.config.queue)
        self.claimer = Claimer(
            self.config,
            self.thread,
            self.outage,
            self.promoter,
            tokens,
            dispatcher,
            self.events,
            identity=lambda: self.claiming_id,
            pause=self.pause,
        )
        self.answers_check()

    def draw(self) -> int:
        return next(self.tokens)

    def answered(self, token: int) -> bool:
        self.ended.append((token, False))
        return self.lease_holds

    def failed(self, token: int) -> None:
        self.ended.append((token, True))

    def forget(self, token: int) -> None:
        self.forgotten.append(token)

    def take(self, rows: list[TaskRow], since: float) -> None:
        self.taken.append(rows)
        self.sent_at.append(since)

    def room(self, claim_seconds: float = 0.0) -> int:
        self.expected_claim_seconds = claim_seconds
        return self.has_room_for

    def turn(self, later: float = 0.0) -> str | None:
        """Run one turn, ``later`` seconds from now; return the name of the pending call."""
        now = time.monotonic() + later
        self.promoter.turn(now)
        self.claimer.turn(now)
        self.events.turn(now)
        return self.thread.pending_call

    def claim(self, *rows: TaskRow, later: float = 0.0) -> dict[str, Any]:
        """Answer the next claim; return its arguments."""
        assert self.turn(later) == "claim"
        asked: dict[str, Any] = self.thread.call.arguments
        self.thread.answer(list(rows))
        return asked

    def refuse(self) -> None:
        """Fail the next call as in an outage."""
        self.turn(later=10)
        self.thread.answer(AWAY)

    def publishes(self) -> bool:
        """Answer the next ``set_sleeping`` call; return whether it says that the manager sleeps."""
        assert self.turn() == "set_sleeping"
        asked: dict[str, Any] = self.thread.call.keywords
        self.thread.answer(None)
        assert asked["manager"] == self.claiming_id
        return bool(asked["sleeping"])

    def falls_asleep(self) -> "Harness":
        self.claim()
        self.answers_check()
        assert self.publishes()
        self.answers_check()
        self.answers_check(later=SOON_SECONDS)
        return self


@pytest.fixture
def harness() -> Harness:
    return Harness()


def test_it_claims_as_many_as_there_is_room_for(harness):
    harness.has_room_for = 5

    asked = harness.claim(task_row(7))

    assert asked == {
        "queue": "default",
        "manager": harness.claiming_id,
        "token": 100,
        "limit": 5,
        "behind": None,
        "without": [],
    }
    assert harness.taken == [[task_row(7)]]


@pytest.mark.parametrize("took", [CLAIM_SECONDS_MAX / 2, 60.0])
def test_a_claim_is_expected_to_take_as_long_as_the_last_one_within_reason(took, harness):
    assert harness.turn() == "claim"
    assert harness.expected_claim_seconds == 0.0
    harness.thread.call.sent_at = time.monotonic() - took
    harness.thread.answer([*FULL])

    harness.turn()

    assert min(took, CLAIM_SECONDS_MAX) <= harness.expected_claim_seconds <= CLAIM_SECONDS_MAX


@pytest.mark.parametrize(("id_", "room"), [(uuid4(), 0), (None, 2)])
def test_it_claims_nothing_without_room_or_while_it_must_not(id_, room, harness):
    harness.claiming_id, harness.has_room_for = id_, room

    assert harness.turn() is None
    assert harness.claimer.next_at() == NEVER


def test_while_a_call_is_under_way_nothing_else_is_asked(harness):
    harness.turn()

    harness.turn()

    assert len(harness.thread.calls) == 1
    assert not harness.claimer.is_idle


@pytest.mark.parametrize(
    ("then", "later", "behind"),
    [
        (lambda harness: None, 0.0, (4, 9)),
        (lambda harness: harness.claim(task_row(11)), 0.0, None),
        (lambda harness: harness.claimer.notified(), 0.0, None),
        (lambda harness: None, FROM_START_SECONDS / 2, (4, 9)),
        (lambda harness: None, FROM_START_SECONDS + 0.5, None),
    ],
    ids=["at once", "a short claim", "a notification", "half a second", "more than a second"],
)
def test_a_claim_starts_behind_the_last_row_of_a_full_one_and_from_the_start_after(
    then, later, behind, harness
):
    harness.claim(*FULL)

    then(harness)

    assert harness.claim(later=later)["behind"] == behind


@pytest.mark.parametrize(
    ("took", "later", "is_from_start"),
    [
        ((0.2, 0.2), 1.5, False),
        ((0.2, 0.2), 2.5, True),
        ((3, 4), 29, False),
        ((4, 3), 31, True),
        ((20, 20), 61, True),
        ((20, 0.001, 20), 1.5, True),
    ],
    ids=["short", "due", "long", "due after long ones", "at most a minute", "one long one"],
)
def test_the_longer_claims_from_the_start_take_the_later_is_the_next(took, later, is_from_start, harness):
    for seconds in took:
        harness.claimer.notified()
        harness.turn(later=-seconds)
        harness.thread.answer(list(FULL))

    assert (harness.claim(later=later - took[-1])["behind"] is None) == is_from_start


def test_where_every_claim_takes_long_claims_from_the_start_are_as_frequent_as_ever(harness):
    for is_from_start in (True, False, True, False, True):
        if is_from_start:
            harness.claimer.notified()
        harness.turn(later=-0.5)
        harness.thread.answer(list(FULL))

    assert harness.claim(later=FROM_START_SECONDS)["behind"] is None


def test_only_a_look_that_began_after_the_claim_lets_it_rest(harness):
    harness.promoter.check_now()
    harness.turn()
    harness.thread.answer([])

    harness.chores.answer(NOTHING_DUE)
    assert harness.turn() is None
    assert not harness.claimer.is_idle
    harness.chores.answer(NOTHING_DUE)

    assert harness.turn() == "set_sleeping"


def test_tasks_that_became_ready_are_claimed_though_the_claim_before_came_empty(harness):
    harness.claim()
    harness.answers_check(QueueCheck(1, True, None))

    assert harness.turn() == "claim"


@pytest.mark.parametrize("listen", [True, False])
def test_tasks_that_are_due_but_locked_by_others_are_claimed_after_a_moment_and_not_at_once(listen):
    harness = Harness(listen=listen)
    harness.claim()
    harness.answers_check(LOCKED_BY_OTHERS)

    assert harness.turn() == ("set_sleeping" if listen else None)
    assert 0 < harness.promoter.next_at() - time.monotonic() <= SOON_SECONDS
    assert not harness.promoter.is_idle
    if listen:
        harness.thread.answer(None)
    harness.answers_check(LOCKED_BY_OTHERS, later=SOON_SECONDS)
    assert harness.turn() == "claim"


def test_after_it_said_that_it_sleeps_it_has_the_queue_looked_at_twice_and_rests(harness):
    harness.falls_asleep()

    assert harness.turn() is None
    assert harness.promoter.next_at() > time.monotonic() + 3500
    assert harness.claimer.is_idle


def test_asleep_it_claims_when_notified_and_says_that_it_is_awake_only_after_several_full_claims(harness):
    harness.falls_asleep().claimer.notified()
    for number in range(AWAKE_AFTER_FULL_CLAIMS):
        harness.claim(task_row(2 * number), task_row(2 * number + 1))

    assert not harness.publishes()
    assert harness.turn() == "claim"


def test_a_manager_that_does_not_listen_never_says_that_it_sleeps():
    harness = Harness(listen=False)
    harness.claim()
    harness.answers_check()

    assert harness.turn() is None
    assert harness.claimer.is_idle


def test_a_new_identity_says_again_that_it_sleeps(harness):
    harness.falls_asleep().claimer.renew()
    harness.claiming_id = uuid4()
    harness.claim()
    harness.answers_check()

    assert harness.publishes()


def test_while_it_must_not_claim_it_does_not_say_that_it_sleeps(harness):
    harness.claim()
    harness.answers_check()
    harness.claiming_id = None

    assert harness.turn() is None


def test_that_it_sleeps_is_said_again_when_it_could_not_be_said(harness):
    harness.claim()
    harness.answers_check()
    harness.refuse()
    harness.claim(later=1)
    harness.answers_check()

    assert harness.publishes()


def test_a_refused_claim_leaves_its_token_and_a_pause_and_is_an_outage_until_the_next_answer(
    harness, recorded_events: RecordedEvents
):
    harness.refuse()
    assert harness.turn() is None
    assert harness.claimer.next_at() == harness.outage.retry_at
    harness.refuse()
    assert harness.outage.is_on
    harness.claim(later=10)

    assert harness.ended == [(100, True), (101, True), (102, False)]
    assert len(recorded_events.of(ClaimErrored)) == 2
    assert [event.error.message for event in recorded_events.of(ClaimFailed)] == [str(AWAY)]
    assert [event.failures for event in recorded_events.of(DatabaseRestored)] == [2]
    assert not harness.outage.is_on


def test_a_claim_that_the_server_cancels_early_is_halved_and_no_outage_until_it_is_for_one_task(
    harness, recorded_events: RecordedEvents
):
    harness.has_room_for = 5

    limits = []
    for _ in range(3):
        assert harness.turn() == "claim"
        limits.append(harness.thread.call.arguments["limit"])
        harness.thread.answer(CANCELLED)

    assert limits == [5, 2, 1]
    assert len(recorded_events.of(ClaimErrored)) == 3
    [failed] = recorded_events.of(ClaimFailed)
    assert "statement_timeout" in failed.error.message
    harness.claim(task_row(1), later=10)
    assert not harness.outage.is_on


def test_a_claim_that_is_cancelled_at_our_own_deadline_is_an_outage(harness, monkeypatch: pytest.MonkeyPatch):
    assert harness.turn() == "claim"
    clock = time.monotonic
    monkeypatch.setattr(time, "monotonic", lambda: clock() + answer_seconds(harness.config.lease_seconds))

    harness.thread.answer(CANCELLED)

    assert harness.outage.is_on


def test_an_outage_ends_with_a_claim_though_nothing_was_due(harness):
    harness.claim()
    harness.answers_check()
    harness.outage.note(AWAY)

    harness.claim()

    assert not harness.outage.is_on


def test_during_an_outage_it_does_not_spin_while_it_must_not_claim(harness):
    harness.claiming_id = None
    harness.outage.note(AWAY)

    harness.turn()

    assert harness.claimer.next_at() == NEVER


def test_after_it_was_stopped_it_asks_nothing_but_takes_what_a_claim_under_way_brings(harness):
    harness.turn()
    harness.claimer.stop()
    assert not harness.claimer.is_idle
    harness.thread.answer([task_row(1)])

    assert harness.taken == [[task_row(1)]]
    assert harness.turn() is None
    assert harness.claimer.is_idle


class AgeingConnection:
    """A connection without a server that counts its checks."""

    checks = 0

    def close_if_unusable_or_obsolete(self) -> None:
        self.checks += 1

    def cursor(self) -> None:
        raise AWAY


def test_a_connection_that_ended_is_replaced_before_a_claim_is_sent(harness):
    harness.thread.needs_connection = True

    assert harness.turn() == "_connect"
    harness.thread.needs_connection = False
    harness.thread.answer(None)

    assert harness.turn() == "claim"


def test_a_connection_that_cannot_be_replaced_is_an_outage(harness):
    harness.thread.needs_connection = True
    harness.turn()

    harness.thread.answer(AWAY)

    assert harness.turn() is None
    assert harness.outage.is_on
    assert harness.ended == []


def test_every_so_many_claims_the_connection_is_checked_first():
    harness, connection, checks = Harness(checks_before_cleanup=2), AgeingConnection(), []
    for _ in range(4):
        harness.turn()
        with pytest.raises(OperationalError):
            harness.thread.call(connection)
        checks.append(connection.checks)
        harness.thread.answer([task_row(1), task_row(2)])

    assert checks == [0, 1, 1, 2]


def test_a_claim_is_emitted_with_its_contexts_and_at_most_a_hundred_ids(
    harness, recorded_events: RecordedEvents
):
    rows = [task_row(number, context='{"a":"b"}' if number == 3 else None) for number in range(150)]
    before = time.time()

    harness.claim(*rows)
    assert harness.taken == [[*rows]]
    assert recorded_events.of(TasksClaimed) == [], "the dispatcher has its turn before"
    harness.turn()

    [claimed] = recorded_events.of(TasksClaimed)
    assert (claimed.queue, claimed.number, claimed.contexts) == ("default", 150, ('{"a":"b"}',))
    assert claimed.task_ids == tuple(range(100))
    assert before <= harness.claimer.last_claim_at <= time.time()


def test_a_claim_that_finds_nothing_is_an_answer_too(harness):
    before = time.time()

    harness.claim()

    assert before <= harness.claimer.last_claim_at <= time.time()


def test_looks_of_an_idle_manager_are_polls_and_those_that_lead_to_a_claim_are_none(
    harness, recorded_events: RecordedEvents
):
    harness.claim()
    harness.answers_check()
    harness.publishes()
    assert recorded_events.of(PollFoundNothing) == [], "a check that belongs to its claim"
    last_claim_at = harness.claimer.last_claim_at

    harness.answers_check()
    harness.turn()
    harness.answers_check(later=SOON_SECONDS)
    harness.turn()

    assert recorded_events.of(PollFoundNothing) == [PollFoundNothing("default")] * 2
    assert harness.claimer.last_claim_at > last_claim_at
    harness.promoter.check_now()
    harness.answers_check(QueueCheck(1, True, None))
    assert harness.turn() == "claim"
    assert len(recorded_events.of(PollFoundNothing)) == 2


@pytest.mark.usefixtures("no_subscribers")
def test_tasks_are_taken_in_where_nobody_wants_the_event(harness):
    harness.claim(task_row(1))

    assert harness.taken == [[task_row(1)]]


def test_what_was_claimed_under_a_lease_that_was_lost_meanwhile_is_not_taken(harness):
    harness.lease_holds = False
    harness.claim(*FULL)

    assert harness.taken == []
    harness.lease_holds = True
    assert harness.claim(*FULL)["behind"] is None
    assert harness.taken == [list(FULL)]


def test_of_a_paused_queue_it_claims_nothing_and_says_once_that_it_does_not_sleep(harness):
    harness.falls_asleep()
    harness.pause.begin()
    harness.claimer.notified()

    assert not harness.publishes()
    assert harness.turn(later=60) is None
    assert harness.claimer.is_idle
    assert harness.claimer.next_at() == NEVER
    harness.pause.end()
    harness.claimer.notified()

    assert harness.turn() == "claim"


def test_a_look_while_the_queue_is_paused_shows_that_the_database_answers(harness):
    harness.pause.begin()
    assert harness.turn() is None
    harness.claimer.last_claim_at = None
    assert harness.turn() is None
    before = harness.claimer.last_claim_at
    harness.promoter.check_now()
    harness.answers_check()

    assert harness.turn() is None
    assert before is None
    assert harness.claimer.last_claim_at is not None


def test_an_outage_ends_with_a_look_if_the_queue_is_paused(harness):
    harness.falls_asleep()
    harness.pause.begin()
    harness.refuse()
    assert harness.outage.has_paused

    assert harness.turn() is None
    assert harness.seconds_to_check() <= max(SOON_SECONDS, harness.outage.retry_at - time.monotonic()) + 0.1
    harness.answers_check(later=60)

    assert not harness.outage.is_on
    assert harness.turn() is None


def test_tasks_are_taken_in_with_the_moment_at_which_their_claim_was_sent(harness):
    before = boot_clock.now()
    assert harness.turn() == "claim"
    sent_by = boot_clock.now()
    wait_until(lambda: boot_clock.now() > sent_by)

    harness.thread.answer([task_row(1)])

    [moment] = harness.sent_at
    assert before <= moment <= sent_by


def test_asleep_it_lets_a_claim_stand_by_with_the_room_that_there_is(harness):
    harness.has_room_for = 5
    harness.falls_asleep()
    assert harness.turn() is None

    call = harness.thread.notify()

    assert call.arguments == {
        "queue": "default",
        "manager": harness.claiming_id,
        "token": call.token,
        "limit": 5,
        "behind": None,
        "without": [],
    }
    assert not harness.claimer.is_idle
    harness.thread.answer([task_row(7)])
    assert harness.taken == [[task_row(7)]]
    assert harness.ended[-1] == (call.token, False)


def test_a_claim_stands_by_while_the_queue_is_checked_and_not_while_it_is_awake(harness):
    assert harness.turn() == "claim"
    harness.thread.answer([])
    harness.answers_check()
    assert harness.turn() == "set_sleeping"
    assert not harness.thread.is_standing_by
    harness.thread.answer(None)

    harness.turn()

    assert harness.chores.calls
    assert harness.thread.is_standing_by


def test_after_a_standing_claim_that_was_full_it_claims_on_and_after_another_the_queue_is_checked(harness):
    harness.falls_asleep().turn()
    harness.thread.notify()
    harness.thread.answer(list(FULL))

    assert harness.claim()["behind"] == (4, 9)
    assert harness.claim()["behind"] is None
    assert harness.turn() is None
    harness.answers_check()
    harness.turn()
    harness.thread.notify()
    harness.thread.answer([task_row(7)])

    assert harness.turn() is None
    assert harness.chores.calls


def test_a_standing_claim_that_fails_is_repeated(harness):
    harness.falls_asleep().turn()
    call = harness.thread.notify()
    harness.thread.answer(AWAY)

    assert harness.ended[-1] == (call.token, True)
    assert harness.turn(later=10) == "claim"


def test_the_claim_that_stands_by_is_replaced_when_it_would_be_another_one(harness):
    harness.falls_asleep().turn()
    harness.turn()
    assert harness.forgotten == []
    before = harness.thread._standing.call

    harness.has_room_for = 7
    harness.turn()

    call = harness.thread.notify()
    assert harness.forgotten == [before.token]
    assert call.token != before.token
    assert call.limit == 7


@pytest.mark.parametrize(
    "change",
    [
        lambda harness: setattr(harness, "has_room_for", 0),
        lambda harness: setattr(harness, "has_idle_worker", False),
        lambda harness: setattr(harness, "claiming_id", None),
        lambda harness: harness.pause.begin(),
        lambda harness: harness.claimer.stop(),
        lambda harness: harness.claimer.notified(),
    ],
    ids=["no room", "no idle worker", "no lease", "paused", "stopped", "notified"],
)
def test_the_claim_is_withdrawn_when_it_must_not_be_made_by_itself(change, harness):
    harness.falls_asleep().turn()

    change(harness)
    harness.turn()

    assert not harness.thread.is_standing_by
    assert len(harness.forgotten) == 1


@pytest.mark.parametrize("is_notified", [True, False])
def test_a_standing_claim_that_begins_during_a_turn_is_the_only_one(is_notified, harness):
    harness.falls_asleep().turn()
    if is_notified:
        harness.claimer.notified()
    else:
        harness.has_room_for = 7

    def begin() -> None:
        harness.pause.before_asked = lambda: None
        harness.thread.notify()

    harness.pause.before_asked = begin
    harness.turn()

    assert len(harness.thread.calls) == 1
    assert harness.thread.is_busy
    assert harness.forgotten == []
    harness.thread.answer(list(FULL))
    assert harness.claim()["behind"] == (4, 9)


def test_a_standing_claim_may_begin_only_under_the_lease_for_which_it_was_prepared(harness):
    harness.falls_asleep().turn()
    standing = harness.thread._standing
    before = harness.claiming_id

    for claiming_id, may_begin in ((None, False), (uuid4(), False), (before, True)):
        harness.claiming_id = claiming_id
        assert standing.take_if_notified(CHANNEL, {"default"}) == may_begin


def test_no_claim_stands_by_while_the_manager_pauses_because_another_connection_failed(harness):
    harness.falls_asleep().turn()
    settles = Outage(harness.outage._shared)
    for _ in range(2):
        settles.fail(AWAY)
    harness.outage._shared._retry_at = time.monotonic() + 1000  # however slow this machine is
    harness.turn()
    assert harness.claimer.next_at() == harness.outage.retry_at
    assert not harness.thread.is_standing_by

    harness.turn(later=1001)

    assert harness.thread.is_standing_by


def test_no_claim_stands_by_when_the_connection_is_to_be_checked():
    harness = Harness(checks_before_cleanup=3).falls_asleep()
    harness.turn()
    harness.thread.notify()
    harness.thread.answer([])
    harness.answers_check()

    harness.turn()

    assert not harness.thread.is_standing_by
    harness.claimer.notified()
    harness.turn()
    assert harness.thread.call._checks_connection


@pytest.mark.parametrize("has_room", [True, False])
@pytest.mark.parametrize(
    ("needs_connection", "is_listening"), [(True, True), (False, False)], ids=["to be replaced", "lost"]
)
def test_it_reconnects_in_order_to_be_notified(needs_connection, is_listening, has_room, harness):
    harness.falls_asleep()
    harness.has_idle_worker = has_room
    harness.thread.needs_connection, harness.thread.is_listening = needs_connection, is_listening

    assert harness.turn() == "_connect"
    harness.thread.answer(None)
    harness.thread.needs_connection, harness.thread.is_listening = False, True
    harness.turn()

    assert harness.thread.is_standing_by == has_room
