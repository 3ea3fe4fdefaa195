"""When a slot gets its next worker: immediately, or after growing pauses if its workers die young."""

import time

from django_partisan.engine.manager.component import NEVER
from django_partisan.engine.manager.restarts import PAUSE_AT_MOST_SECONDS, PAUSE_SECONDS, Restarts


def test_every_slot_is_filled_at_once_and_once():
    restarts = Restarts(2)
    assert restarts.next_at() == 0.0

    assert restarts.take_due(0.0) == [0, 1]
    assert restarts.take_due(NEVER) == []
    assert restarts.next_at() == NEVER


def test_pauses_after_early_deaths_double_up_to_ten_seconds_and_end_with_a_worker_that_worked():
    restarts = Restarts(1)
    for number in range(2000):
        restarts.take_due(NEVER)
        pause = min(PAUSE_SECONDS * 2 ** min(number, 10), PAUSE_AT_MOST_SECONDS)
        before = time.monotonic()
        restarts.restart_later(0)
        assert before + pause <= restarts.next_at() <= time.monotonic() + pause
    assert restarts.take_due(time.monotonic()) == []

    restarts.restart_now(0)
    assert restarts.take_due(time.monotonic()) == [0]
    restarts.restart_later(0)

    assert restarts.next_at() <= time.monotonic() + PAUSE_SECONDS
