"""What a schedule's row stores about its ticks."""

import math
import re
import reprlib
from datetime import timedelta
from types import SimpleNamespace
from typing import Any

import pytest

from django_partisan.schedules.tick_record import (
    DUPLICATE,
    ENQUEUED,
    MISSED,
    OVERLAP,
    MalformedRow,
    TaskState,
    Tick,
    ended,
    ensure_sound,
    with_open_tick,
    with_ticks,
    with_totals,
)
from tests.support.schedules import NOON

AT = "2026-11-30T12:00:00+00:00"
NOW = 1_000_000.0


def tick(task, outcome=ENQUEUED, **more):
    return {"at": AT, "task": task, "outcome": outcome, **more}


def test_the_last_20_ticks_are_kept():
    ticks = [Tick(NOON + timedelta(seconds=number), MISSED) for number in range(15)]

    kept = with_ticks(with_ticks([], ticks), [*ticks, Tick(NOON, ENQUEUED, 7)])

    assert len(kept) == 20
    assert kept[-1] == tick(7)
    assert kept[-2]["at"] == "2026-11-30T12:00:14+00:00"


def test_totals_add_up_and_have_every_outcome():
    totals = with_totals(with_totals({}, {ENQUEUED: 2, MISSED: 5}), {ENQUEUED: 1, OVERLAP: 1})

    assert totals == {"enqueued": 3, "duplicate": 0, "overlap": 1, "missed": 5}


def test_the_oldest_open_tick_stays():
    ticks = [Tick(NOON, MISSED), Tick(NOON, DUPLICATE, 7), Tick(NOON, ENQUEUED, 8)]

    assert with_open_tick(None, ticks) == {"at": AT, "task": 7}
    assert with_open_tick({"at": AT, "task": 3}, ticks) == {"at": AT, "task": 3}
    assert with_open_tick(None, ticks[:1]) is None


@pytest.mark.parametrize(
    ("state", "end", "failed"),
    [
        (None, "completed", False),
        (TaskState("finished", None, 5.0), "completed", False),
        (TaskState("error", "timeout", 5.0), "failed", True),
        (TaskState("error", "expired", 5.0), "expired", False),
        (TaskState("error", "cancelled", 5.0), "cancelled", False),
    ],
)
def test_an_end_is_noted_once(state, end, failed):
    states = {} if state is None else {7: state}

    found = ended([tick(None, MISSED), tick(7)], {"at": AT, "task": 7}, states, NOW)

    assert found.recent_ticks == [tick(None, MISSED), tick(7, ended=end)]
    assert (found.open_tick, found.failed) == (None, failed)
    assert found.completed_at == ({None: NOW}.get(state, 5.0) if end == "completed" else None)


@pytest.mark.parametrize("status", ["new", "in_process"])
def test_a_task_that_waits_or_runs_is_open(status):
    states = {7: TaskState(status, None, None)}

    found = ended([tick(7)], {"at": AT, "task": 7}, states, NOW)

    assert found.recent_ticks == [tick(7)]
    assert (found.open_tick, found.completed_at, found.failed) == ({"at": AT, "task": 7}, None, None)


def test_the_newest_end_says_whether_the_last_task_failed_and_the_next_open_one_follows():
    states = {8: TaskState("error", "error", 6.0), 9: TaskState("new", None, None)}

    found = ended([tick(7), tick(8), tick(9)], {"at": AT, "task": 7}, states, NOW)

    assert (found.failed, found.completed_at) == (True, NOW)
    assert found.open_tick == {"at": AT, "task": 9}


def test_an_open_tick_that_is_none_of_the_last_is_looked_up_too():
    states = {3: TaskState("in_process", None, None)}

    still_open = ended([tick(7)], {"at": AT, "task": 3}, states, NOW)
    gone = ended([tick(7, ended="completed")], {"at": AT, "task": 3}, {}, NOW)

    assert (still_open.open_tick, still_open.failed) == ({"at": AT, "task": 3}, False)
    assert (gone.open_tick, gone.completed_at) == (None, NOW)


def test_what_was_known_before_says_nothing_new():
    found = ended(
        [tick(7, ended="failed"), tick(8)], {"at": AT, "task": 8}, {8: TaskState("new", None, None)}, NOW
    )

    assert found.failed is None


TICK = {"at": "2026-11-30T12:00:00+00:00", "task": 1, "outcome": "enqueued"}


def row_with(**columns: Any) -> SimpleNamespace:
    sound = {
        "recent_ticks": [TICK, {**TICK, "task": None}],
        "open_tick": TICK,
        "totals": {"enqueued": 3},
        "lateness_seconds": 0.5,
    }
    return SimpleNamespace(**{**sound, **columns})


def test_what_managers_write_is_sound():
    ensure_sound(row_with())
    ensure_sound(row_with(recent_ticks=[], open_tick=None, totals={}, lateness_seconds=None))


MALFORMED: dict[str, list[Any]] = {
    "recent_ticks": [
        *(None, 1, {"a": 1}, ["a"], [{"at": "now"}], [{"task": 1}]),
        *([{**TICK, "at": 1}], [{**TICK, "task": "1"}], [{**TICK, "x": 1e9}]),
    ],
    "open_tick": [1, [], {}, {**TICK, "task": None}, {**TICK, "task": 2**62}],
    "totals": [None, [], 1, {"missed": "1"}, {"missed": True}, {"missed": 2**62}],
    "lateness_seconds": [math.nan, math.inf],
}


@pytest.mark.parametrize(
    ("column", "value"), [(column, value) for column, values in MALFORMED.items() for value in values]
)
def test_what_others_have_written_into_a_row_is_refused(column, value):
    expected = (
        rf"^{column} has an unexpected value: {re.escape(reprlib.repr(value))}; expected .*\. Set it to "
    )

    with pytest.raises(MalformedRow, match=expected):
        ensure_sound(row_with(**{column: value}))
