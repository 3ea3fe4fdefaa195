"""What a manager may claim if others also serve its queue, and what it releases for them."""

import time
import uuid
from typing import Any

import pytest

from django_partisan.engine.manager.component import NEVER
from django_partisan.engine.manager.sharing import ASK_SECONDS, CHECK_SECONDS, SHARE_SECONDS
from django_partisan.sql.leasing import OtherManager
from django_partisan.sql.rescuing import RescuedTask
from tests.support.engine import IntakeHarness
from tests.support.rows import task_row

TINY, SHORT, LONG, UNKNOWN = "Tiny", "Short", "Long", "Unknown"


def other(**more: Any) -> OtherManager:
    values: dict[str, Any] = {"host": "there", "is_expired": False, "has_tasks": False, "is_sleeping": False}
    return OtherManager(id=uuid.uuid4(), lock_name=uuid.uuid4(), **values | {"is_serving": True} | more)


def record(engine: IntakeHarness, **seconds: float) -> None:
    for processor, one in seconds.items():
        engine.intake.run_times.record(processor, 100, 100 * one)


def buffer(engine: IntakeHarness, processor: str, number: int, start: int = 1) -> None:
    engine.dispatcher.take([task_row(task_id, processor) for task_id in range(start, start + number)])


def both_run(engine: IntakeHarness, since: float = 0.0) -> None:
    """Let both workers run a task that began ``since`` seconds ago."""
    for slot, task_id in enumerate((98, 99)):
        engine.dispatch_to(slot, task_row(task_id, LONG)).managed.active_at -= since


def released(engine: IntakeHarness) -> list[int]:
    return engine.outcomes.settler.ids()


@pytest.mark.parametrize(
    "others",
    [[], [other(is_expired=True, is_sleeping=True)], [other(is_serving=False, is_sleeping=True)]],
    ids=["none", "expired", "worker without its manager"],
)
def test_without_other_managers_that_live_there_is_room_up_to_the_setting(engine: IntakeHarness, others):
    engine.sharing.on_heartbeat(others)
    both_run(engine, since=99.0)

    assert engine.dispatcher.room() == 10


@pytest.mark.parametrize(
    ("learnt", "buffered", "room"),
    [
        ({}, (UNKNOWN, 0), 2),
        ({}, (UNKNOWN, 1), 1),
        ({}, (UNKNOWN, 2), 0),
        ({LONG: 2.0}, (LONG, 0), 1),
        ({LONG: 2.0}, (LONG, 1), 0),
        ({SHORT: 0.3}, (SHORT, 0), 6),
        ({SHORT: 0.3}, (SHORT, 2), 4),
        ({SHORT: 0.6}, (SHORT, 2), 0),
        ({TINY: 0.001}, (TINY, 2), 8),
        ({TINY: 0.001}, (UNKNOWN, 2), 0),
    ],
)
def test_beside_others_there_is_room_for_a_second_of_work_for_each_worker(
    engine: IntakeHarness, learnt, buffered, room
):
    engine.sharing.on_heartbeat([other()])
    both_run(engine)
    record(engine, **learnt)
    buffer(engine, *buffered)

    assert engine.dispatcher.room() == room


def test_an_idle_worker_is_fed_beside_others_too(engine: IntakeHarness):
    engine.sharing.on_heartbeat([other()])
    record(engine, **{LONG: 60.0})

    assert engine.dispatcher.room() == 2


@pytest.mark.parametrize(("since", "room"), [(SHARE_SECONDS / 2, 8), (SHARE_SECONDS, 0)])
def test_while_no_worker_gets_on_nothing_is_claimed_that_would_have_to_wait(
    engine: IntakeHarness, since: float, room: int
):
    engine.sharing.on_heartbeat([other()])
    record(engine, **{TINY: 0.001})
    buffer(engine, TINY, 2)
    both_run(engine, since)

    assert engine.dispatcher.room() == room


@pytest.mark.parametrize(
    ("learnt", "kind", "kept"),
    [
        ({TINY: 0.001}, TINY, 9),
        ({SHORT: 0.3}, SHORT, 6),
        ({LONG: 2.1}, LONG, 0),
        ({TINY: 0.001}, UNKNOWN, 2),
    ],
)
def test_what_exceeds_a_second_of_work_for_each_worker_is_released_while_another_sleeps(
    engine: IntakeHarness, learnt, kind: str, kept: int
):
    record(engine, **learnt)
    buffer(engine, kind, 9)
    engine.sharing.on_heartbeat([other(), other(is_sleeping=True)])

    engine.sharing.turn(time.monotonic())

    assert engine.buffered() == list(range(1, kept + 1))
    assert released(engine) == list(range(kept + 1, 10))


def test_tasks_that_wait_for_workers_that_do_not_get_on_are_released_however_short(engine: IntakeHarness):
    record(engine, **{TINY: 0.001})
    both_run(engine, since=SHARE_SECONDS)
    buffer(engine, TINY, 3)
    engine.sharing.on_heartbeat([other(is_sleeping=True)])

    engine.sharing.turn(time.monotonic())

    assert (engine.buffered(), released(engine)) == ([], [1, 2, 3])


def test_rescued_tasks_are_kept_because_they_run_first(engine: IntakeHarness):
    engine.intake.on_rescued([RescuedTask(None, task_row(task_id, UNKNOWN)) for task_id in (7, 8, 9)])
    buffer(engine, UNKNOWN, 3)
    engine.sharing.on_heartbeat([other(is_sleeping=True)])

    engine.sharing.turn(time.monotonic())

    assert (engine.buffered(), released(engine)) == ([7, 8, 9], [1, 2, 3])


def test_a_manager_that_was_seen_asleep_gets_nothing_that_comes_later(engine: IntakeHarness):
    engine.sharing.on_heartbeat([other(is_sleeping=True)])
    engine.sharing.turn(time.monotonic())
    buffer(engine, UNKNOWN, 9)

    engine.sharing.turn(time.monotonic())

    assert len(engine.buffered()) == 9


def requested_at(engine: IntakeHarness, seconds: float) -> list[float]:
    """Turn for ``seconds`` whenever the component asks; return when it asked for heartbeats."""
    start = now = time.monotonic()
    asked = []
    while now < start + seconds:
        before = engine.heartbeats_requested
        engine.sharing.turn(now)
        asked += [round(now - start, 2)] * (engine.heartbeats_requested - before)
        now = engine.sharing.next_at()
    return asked


@pytest.mark.parametrize(
    ("others", "times"),
    [([], [1.0, 3.0, 7.0, 11.0, 15.0]), ([other()], [1.0, 2.0, 3.0, 4.0])],
    ids=["alone, ever less often", "beside others, every second"],
)
def test_who_sleeps_is_asked_while_the_buffer_holds_too_much(engine: IntakeHarness, others, times):
    engine.sharing.on_heartbeat(others)
    buffer(engine, UNKNOWN, 9)

    asked = requested_at(engine, times[-1] + CHECK_SECONDS)

    # The pause begins with the last heartbeat, a moment before the first look.
    assert asked == pytest.approx(times, abs=CHECK_SECONDS + 0.05)


def test_nothing_is_asked_while_the_buffer_holds_little_or_nothing(engine: IntakeHarness):
    assert requested_at(engine, 60.0) == []
    assert engine.sharing.next_at() == NEVER
    record(engine, **{TINY: 0.001})
    buffer(engine, TINY, 9)

    assert requested_at(engine, 5 * ASK_SECONDS) == []
