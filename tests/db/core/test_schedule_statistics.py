"""The statistics of schedules are read in one query, for a limited number of schedules."""

import math
from datetime import datetime, timedelta
from datetime import timezone as timezone_of_python

import pytest
from django.db import connection
from django.utils import timezone

from django_partisan.metrics.sampler import Answer, Sampler, samples
from django_partisan.models import Schedule
from django_partisan.sql.connection import execute
from django_partisan.sql.queue_statistics import StatisticsQuery
from django_partisan.sql.schedule_statistics import schedule_statistics
from django_partisan.telemetry.events.telemetry import MetricsDatabaseFailed
from tests.support.events import RecordedEvents
from tests.support.schedules import add_schedule, server_now

pytestmark = pytest.mark.django_db(transaction=True)


def test_a_schedule_has_its_moments_and_totals():
    now = server_now()
    ahead = now + timedelta(hours=1)
    add_schedule(
        next_at=ahead,
        last_at=now,
        last_completed_at=now,
        totals={"enqueued": 3, "missed": 2},
        open_tick={"at": (now - timedelta(seconds=100)).isoformat(), "task": 1},
        last_failed=True,
    )

    [found] = schedule_statistics(connection)

    assert found.name == "nightly"
    assert (found.next_at, found.last_at, found.last_completed_at) == pytest.approx(
        (ahead.timestamp(), now.timestamp(), now.timestamp())
    )
    assert (found.lateness, found.has_failed, found.totals) == (0.0, True, (3, 0, 0, 2))
    assert 100 <= found.open_seconds < 160


@pytest.mark.parametrize("off", [{"paused": True}, {"stopped_at": timezone.now()}])
def test_one_that_is_off_has_no_next_tick_and_is_never_late(off):
    add_schedule(next_at=server_now() - timedelta(hours=1), **off)

    [found] = schedule_statistics(connection)

    assert (found.next_at, found.lateness, found.last_at, found.open_seconds) == (None, 0.0, None, 0.0)


def test_a_tick_that_is_due_is_late():
    add_schedule(next_at=server_now() - timedelta(seconds=100))

    [found] = schedule_statistics(connection)

    assert 100 <= found.lateness < 160


def test_the_first_by_alphabet_have_their_own_and_the_rest_have_the_worst():
    now = server_now()
    for name, minutes in (("b", 5), ("a", 1), ("c", 9), ("B", 2)):
        moment = now - timedelta(minutes=minutes)
        add_schedule(name, next_at=moment, last_at=moment, totals={"enqueued": 1}, last_failed=name == "b")

    found = schedule_statistics(connection, named=2)

    assert [one.name for one in found] == ["B", "a", None]
    assert found[-1].next_at == pytest.approx((now - timedelta(minutes=9)).timestamp())
    assert found[-1].last_at == pytest.approx((now - timedelta(minutes=5)).timestamp())
    assert (found[-1].has_failed, found[-1].totals) == (True, None)


def test_of_the_rest_an_open_task_counts_once_it_is_overdue():
    now = server_now()
    for name, days, minutes in (("first", 1, 0), ("hourly", 1, 0), ("weekly", 7, 9), ("z", 1, 60 * 30)):
        open_tick = {"at": (now - timedelta(minutes=minutes)).isoformat(), "task": 1} if minutes else None
        last_at = now - timedelta(days=days) / 2
        add_schedule(name, last_at=last_at, next_at=last_at + timedelta(days=days), open_tick=open_tick)

    quiet = schedule_statistics(connection, named=1)[-1]
    Schedule.objects.filter(pk="weekly").update(
        open_tick={"at": (now - timedelta(days=8)).isoformat(), "task": 1}
    )
    late = schedule_statistics(connection, named=1)[-1]

    assert quiet.open_seconds == pytest.approx(30 * 3600, abs=60)
    assert late.open_seconds == pytest.approx(8 * 86400, abs=60)
    Schedule.objects.filter(pk__in=("weekly", "z")).update(open_tick={"at": now.isoformat(), "task": 1})
    assert schedule_statistics(connection, named=1)[-1].open_seconds == 0


def test_one_that_was_stopped_has_neither_failed_nor_open_tasks():
    long_ago = server_now() - timedelta(days=3)
    add_schedule(stopped_at=long_ago, last_failed=True, open_tick={"at": long_ago.isoformat(), "task": 1})

    [found] = schedule_statistics(connection)

    assert (found.has_failed, found.open_seconds) == (False, 0.0)


def test_one_that_is_paused_has_not_failed_and_of_the_rest_no_open_task_either():
    long_ago = server_now() - timedelta(days=3)
    open_tick = {"at": long_ago.isoformat(), "task": 1}
    add_schedule("a", paused=True, last_failed=True)
    add_schedule(
        "b",
        paused=True,
        last_failed=True,
        open_tick=open_tick,
        last_at=long_ago,
        next_at=long_ago + timedelta(days=1),
    )

    own, others = schedule_statistics(connection, named=1)

    assert (own.has_failed, others.has_failed, others.open_seconds) == (False, False, 0.0)


INFINITE = [
    f"{column} = '{sign}infinity'"
    for column in ("next_at", "last_at", "last_completed_at", "stopped_at", "retry_at", "defined_at")
    for sign in ("", "-")
]


@pytest.mark.parametrize(
    "change",
    [
        *INFINITE,
        *(f"totals = '{value}'" for value in ("[]", "7", '{"enqueued": "x"}', '{"missed": 1e400}')),
        *(f"open_tick = '{value}'" for value in ("[]", "7", "{}", '{"at": 5}', '{"at": "soon"}')),
        *(
            f'open_tick = \'{{"at": "{day}T{time}+00:00", "task": 1}}\''
            for day, time in (
                *(("0000-01-01", "00:00:00"), ("2026-13-01", "00:00:00"), ("2026-02-30", "00:00:00")),
                *(("2026-02-29", "00:00:00"), ("1900-02-29", "00:00:00"), ("0100-02-29", "00:00:00")),
                *(("2026-04-31", "00:00:00"), ("2026-01-01", "24:00:01"), ("2026-01-01", "23:60:00")),
            )
        ),
        "lateness_seconds = 'NaN'",
    ],
)
@pytest.mark.parametrize("named", [0, 9])
def test_a_malformed_row_breaks_no_statistics(change: str, named: int):
    add_schedule("bad", totals={"enqueued": 1})
    add_schedule("nightly", totals={"enqueued": 3}, next_at=server_now() - timedelta(seconds=100))
    execute(connection, f"UPDATE django_partisan_schedule SET {change} WHERE name = 'bad'")

    found = schedule_statistics(connection, named)

    assert found[-1].lateness >= 100
    assert all(math.isfinite(value) for one in found for value in one[1:6] if value is not None)


def test_the_age_of_an_open_tick_is_known_on_every_day():
    day = datetime(2027, 12, 31, 23, 59, 59, 999999, tzinfo=timezone_of_python.utc)
    days = [day - timedelta(days=number) for number in range(366 + 365)]  # including 29 February
    for number, moment in enumerate(days):
        add_schedule(f"s{number:03}", open_tick={"at": moment.isoformat(), "task": 1}, last_at=day)

    moments = [server_now().timestamp() - one.open_seconds for one in schedule_statistics(connection, 1000)]

    past = [moment.timestamp() for moment in days if moment < server_now()]
    assert moments[-len(past) :] == pytest.approx(past, abs=60)


@pytest.mark.parametrize("year", [4, 96, 1600, 2000, 2004, 2008, 2012, 2016, 2020, 2024])
def test_the_age_of_a_tick_that_opened_on_29_february_is_known(year: int):
    moment = datetime(year, 2, 29, tzinfo=timezone_of_python.utc)
    add_schedule(open_tick={"at": moment.isoformat(), "task": 1})

    [found] = schedule_statistics(connection)

    assert server_now().timestamp() - found.open_seconds == pytest.approx(moment.timestamp(), abs=60)


def test_without_statistics_of_schedules_there_are_those_of_tasks(recorded_events: RecordedEvents):
    execute(connection, "ALTER TABLE django_partisan_schedule RENAME COLUMN totals TO hidden")
    sampler = Sampler("default", StatisticsQuery("default", 30), 30, 0, 60)
    try:
        answers = [sampler.answer() for _ in range(2)]
    finally:
        execute(connection, "ALTER TABLE django_partisan_schedule RENAME COLUMN hidden TO totals")
        sampler.stop()

    assert [answer.up for answer in answers] == [True, True]
    assert answers[0].statistics is not None
    assert (answers[0].statistics.schedules, answers[0].statistics.due) == ((), 0)
    [failed] = recorded_events.of(MetricsDatabaseFailed)
    assert "totals" in failed.error.message


def test_no_label_is_exported_twice():
    for name in ("n" * 201, "n" * 202, "_other"):
        add_schedule(name)
    query = StatisticsQuery("default", 2)

    statistics = query.read()
    query.close()

    series = [
        (metric.name, labels)
        for metric, labels, _ in samples("default", Answer(True, statistics, 0, 0, "17"))
    ]
    assert len(series) == len(set(series))


def test_a_scrape_exports_them():
    add_schedule(next_at=server_now() + timedelta(hours=1), totals={"enqueued": 3})
    query = StatisticsQuery("default", 2)

    statistics = query.read()
    query.close()

    exported = {
        (metric.name, *labels): value
        for metric, labels, value in samples("default", Answer(True, statistics, 0.0, 0.1, "17"))
        if "schedule" in metric.name and value is not None  # an unknown value has no series
    }
    assert exported["partisan_schedule_ticks_total", "nightly", "enqueued"] == 3
    assert exported["partisan_schedule_ticks_total", "nightly", "overlap"] == 0
    assert exported["partisan_schedule_lateness_seconds", "nightly"] == 0
    assert {name for name, *_ in exported} == {
        "partisan_db_schedules_readable",
        "partisan_schedule_ticks_total",
        "partisan_schedule_next_tick_timestamp_seconds",
        "partisan_schedule_lateness_seconds",
        "partisan_schedule_open_seconds",
        "partisan_schedule_last_failed",
    }
