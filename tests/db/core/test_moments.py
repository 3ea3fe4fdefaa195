"""Whenever a task is scheduled for, its row can be read in every time zone."""

from datetime import datetime, timedelta, timezone
from zoneinfo import ZoneInfo

import pytest
from django.test import override_settings

from django_partisan.models import Task
from django_partisan.moments import EARLIEST, LATEST
from django_partisan.processor import bulk_delay
from tests.support.registry import Idle
from tests.support.rows import columns

pytestmark = pytest.mark.django_db

FIRST, LAST = datetime.min, datetime.max  # noqa: DTZ901
LATER = datetime(2999, 1, 2, 3, 4, 5, tzinfo=timezone.utc)
# PostgreSQL accepts no offset of 16 hours or more, and none with fractions of a second.
ODD = timedelta(hours=23, minutes=59, seconds=58, microseconds=7)
ZONES = [
    timezone.utc,
    timezone(timedelta(hours=-5)),
    timezone(timedelta(hours=14)),
    timezone(ODD),
    timezone(-ODD),
    ZoneInfo("America/New_York"),
    ZoneInfo("Asia/Tokyo"),
]


class Letter(Idle):
    pass


@pytest.mark.parametrize("zone", ZONES, ids=str)
@pytest.mark.parametrize(("moment", "limit"), [(LAST, LATEST), (FIRST, EARLIEST)], ids=["last", "first"])
def test_a_time_that_some_time_zone_cannot_hold_is_stored_as_the_last_that_all_can(moment, limit, zone):
    moment = moment.replace(tzinfo=zone)

    ids = [Letter(1).delay(execute_after=moment).pk, *bulk_delay([Letter(2)], execute_after=moment)]

    assert {columns(pk, "execute_after", "ready") for pk in ids} == {(limit, limit is EARLIEST)}
    for stored in Task.objects.values_list("execute_after", flat=True):
        assert {stored.astimezone(each) for each in ZONES} == {limit}


@pytest.mark.parametrize("zone", ZONES, ids=str)
def test_a_time_of_any_offset_is_stored_as_the_same_moment(zone):
    moment = LATER.astimezone(zone)

    ids = [Letter(1).delay(execute_after=moment).pk, *bulk_delay([Letter(2)], execute_after=moment)]

    assert {columns(pk, "execute_after", "ready") for pk in ids} == {(LATER, False)}


@pytest.mark.parametrize("zone", ["America/New_York", "Asia/Tokyo"])
def test_a_naive_time_at_the_ends_of_the_calendar_can_be_read_again(zone):
    with override_settings(USE_TZ=False, TIME_ZONE=zone):
        bulk_delay([Letter(1)], execute_after=FIRST)
        Letter(2).delay(execute_after=LAST)

        first, last = Task.objects.order_by("execute_after").values_list("execute_after", flat=True)

    assert (first.year, last.year) == (1, 9999)
