"""An outage: emitted once, tried again ever more slowly, and over when the database answers."""

import time

import pytest

from django_partisan.engine.manager.outage import PAUSE_AT_MOST_SECONDS, PAUSE_SECONDS, ClaimOutage, Outage
from django_partisan.telemetry.events import ClaimFailed, DatabaseRestored
from tests.support.events import RecordedEvents


def test_pauses_double_up_to_three_seconds():
    outage = Outage("default")
    for number in range(2000):
        pause = min(PAUSE_SECONDS * 2 ** min(number, 10), PAUSE_AT_MOST_SECONDS)
        before = time.monotonic()

        assert outage.fail(ConnectionError()) == (number == 0)
        assert before + pause <= outage.over_at <= time.monotonic() + pause


def test_a_failure_that_is_only_noted_needs_no_pause():
    outage = Outage("default")

    assert outage.note(ConnectionError("away"))
    assert not outage.note(ConnectionError("still away"))

    assert outage.is_on
    assert outage.over_at == 0.0


@pytest.mark.parametrize("kind", [Outage, ClaimOutage])
def test_an_outage_ends_with_its_figures_and_the_next_is_another(
    kind: type[Outage], recorded_events: RecordedEvents
):
    outage = kind("mail")
    outage.end()
    assert not outage.is_on
    outage.fail(ConnectionError("away"))
    outage.fail(ConnectionError("still away"))
    assert (outage.error.type, outage.error.message) == ("ConnectionError", "still away")

    outage.end()

    assert not outage.is_on
    assert outage.over_at == 0.0
    [restored] = recorded_events.of(DatabaseRestored)
    assert (restored.queue, restored.failures) == ("mail", 2)
    assert 0.0 <= restored.seconds < 60
    assert outage.fail(ConnectionError("again"))
    messages = [event.error.message for event in recorded_events.of(ClaimFailed)]
    assert messages == (["away", "again"] if kind is ClaimOutage else [])
