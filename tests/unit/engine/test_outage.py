"""An outage: told once, tried again ever more slowly, and over when the database answers."""

import time

from django_partisan.engine.manager.outage import PAUSE_AT_MOST_SECONDS, PAUSE_SECONDS, Outage


def test_only_the_first_failure_in_a_row_is_news():
    outage = Outage()
    assert not outage.is_on

    assert outage.fail(ConnectionError("away"))
    assert not outage.fail(ConnectionError("still away"))

    assert outage.is_on
    assert (outage.error.type, outage.error.message) == ("ConnectionError", "still away")


def test_a_failure_that_is_only_noted_needs_no_pause():
    outage = Outage()

    assert outage.note(ConnectionError("away"))
    assert not outage.note(ConnectionError("still away"))
    assert outage.is_on
    assert outage.over_at == 0.0
    assert not outage.fail(ConnectionError("still away"))

    assert outage.over_at >= time.monotonic() + PAUSE_SECONDS
    assert outage.end()[0] == 3


def test_pauses_double_up_to_three_seconds():
    outage = Outage()
    for number in range(2000):
        before = time.monotonic()
        outage.fail(ConnectionError())

        pause = (
            min(PAUSE_SECONDS * 2**number, PAUSE_AT_MOST_SECONDS) if number < 10 else PAUSE_AT_MOST_SECONDS
        )
        assert before + pause <= outage.over_at <= time.monotonic() + pause


def test_an_outage_ends_with_its_figures_and_the_next_begins_anew():
    outage = Outage()
    outage.fail(ConnectionError())
    outage.fail(ConnectionError())
    before = time.monotonic()

    failures, seconds = outage.end()

    assert failures == 2
    assert seconds >= 0.0
    assert not outage.is_on
    assert outage.over_at == 0.0
    assert outage.fail(ConnectionError())
    assert before + PAUSE_SECONDS <= outage.over_at <= time.monotonic() + PAUSE_SECONDS
