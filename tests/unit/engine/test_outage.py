"""An outage is emitted once, calls are retried with growing pauses, and it ends when the database answers."""

import time

import pytest
from django.db import IntegrityError, OperationalError

from django_partisan.engine.manager.outage import (
    PAUSE_AT_MOST_SECONDS,
    PAUSE_SECONDS,
    ClaimOutage,
    Outage,
    SharedOutage,
)
from django_partisan.telemetry.events.managers import DatabaseRestored
from django_partisan.telemetry.events.queues import ClaimErrored, ClaimFailed
from tests.support.events import RecordedEvents


def test_pauses_double_up_to_three_seconds():
    outage = Outage(SharedOutage("default"))
    for number in range(2000):
        pause = min(PAUSE_SECONDS * 2 ** min(number, 10), PAUSE_AT_MOST_SECONDS)
        before = time.monotonic()

        assert outage.fail(ConnectionError()) == (number == 0)
        assert before + pause <= outage.retry_at <= time.monotonic() + pause


def test_a_failure_that_is_only_noted_needs_no_pause():
    outage = Outage(SharedOutage("default"))

    assert outage.note(ConnectionError("away"))
    assert not outage.note(ConnectionError("still away"))

    assert outage.is_on
    assert outage.retry_at == 0.0


@pytest.mark.parametrize("kind", [Outage, ClaimOutage])
def test_an_outage_ends_with_its_figures_and_the_next_is_another(
    kind: type[Outage], recorded_events: RecordedEvents
):
    outage = kind(SharedOutage("mail"))
    outage.end()
    assert not outage.is_on
    outage.fail(ConnectionError("away"))
    outage.fail(ConnectionError("still away"))
    assert (outage.error.type, outage.error.message) == ("ConnectionError", "still away")

    outage.end()

    assert not outage.is_on
    assert outage.retry_at == 0.0
    [restored] = recorded_events.of(DatabaseRestored)
    assert (restored.queue, restored.failures) == ("mail", 2)
    assert 0.0 <= restored.seconds < 60
    assert outage.fail(ConnectionError("again"))
    messages = [event.error.message for event in recorded_events.of(ClaimFailed)]
    assert messages == (["away", "again"] if kind is ClaimOutage else [])
    assert len(recorded_events.of(ClaimErrored)) == (3 if kind is ClaimOutage else 0)


@pytest.fixture
def shared() -> SharedOutage:
    return SharedOutage("mail")


def test_while_the_database_is_away_for_one_the_others_wait_until_it_has_tried(shared):
    claims, settles = ClaimOutage(shared), Outage(shared)
    claims.fail(OperationalError("away"))
    assert settles.retry_at == 0.0, "it may be one connection"

    claims.fail(OperationalError("still away"))

    assert settles.retry_at == claims.retry_at + PAUSE_SECONDS
    assert not settles.is_on


def test_an_answer_to_one_is_an_answer_to_all_which_then_try_soon(shared):
    claims, settles = ClaimOutage(shared), Outage(shared)
    for _ in range(6):
        claims.fail(OperationalError("away"))
        settles.fail(OperationalError("away"))
    assert settles.retry_at > time.monotonic() + 2 * PAUSE_SECONDS

    claims.end()

    assert settles.is_on
    assert settles.retry_at <= time.monotonic() + PAUSE_SECONDS


def test_an_error_that_is_not_of_the_connection_holds_up_nobody_else(shared):
    claims, settles = ClaimOutage(shared), Outage(shared)
    for _ in range(3):
        settles.fail(IntegrityError("refused"))

    assert claims.retry_at == 0.0


def test_the_end_is_emitted_once_with_the_last_and_counts_all(shared, recorded_events: RecordedEvents):
    claims, settles = ClaimOutage(shared), Outage(shared)
    claims.fail(OperationalError("away"))
    settles.fail(OperationalError("away"))
    settles.note(OperationalError("away"))
    claims.end()
    assert recorded_events.of(DatabaseRestored) == []
    assert shared.is_on

    settles.end()

    [restored] = recorded_events.of(DatabaseRestored)
    assert restored.failures == 3
    assert not shared.is_on
    assert claims.retry_at == settles.retry_at == 0.0
