"""A queue is paused by a row that its managers read; pausing again changes when the pause ends."""

from datetime import datetime, timedelta, timezone
from typing import Any

import pytest
from django.db import connection, transaction
from django.db.backends.base.base import BaseDatabaseWrapper
from django.test import override_settings
from django.utils.timezone import make_naive, now

from django_partisan.exceptions import UnknownQueue
from django_partisan.models import Pause
from django_partisan.pausing import pause, paused_queues, resume
from django_partisan.sql import pausing
from django_partisan.sql.control import CONTROL_CHANNEL, decoded
from django_partisan.sql.leasing import heartbeat
from django_partisan.sql.listening import Listener
from tests.support.waiting import wait_until

pytestmark = [pytest.mark.django_db(transaction=True), pytest.mark.usefixtures("two_queues")]

IN_AN_HOUR = timedelta(hours=1)


@pytest.fixture
def two_queues() -> Any:
    with override_settings(PARTISAN_CONFIG={"default": {}, "mail": {}}):
        yield


def end_pauses() -> None:
    """Set the end of every pause to a moment ago."""
    Pause.objects.update(until=now() - timedelta(seconds=1))


def test_a_queue_is_paused_until_it_is_resumed():
    made = pause("mail", comment="the provider is down", by="ada")

    assert paused_queues() == [made]
    assert made[2:] == (None, "the provider is down", "ada")
    assert made.queue_name == "mail"
    assert made.paused_at is not None
    assert abs(now() - made.paused_at) < timedelta(minutes=1)
    assert resume("mail")
    assert paused_queues() == []
    assert not resume("mail")


@pytest.mark.parametrize("is_duration", [True, False])
def test_a_pause_with_an_end_is_over_then_by_itself(is_duration: bool):
    made = pause("mail", until=IN_AN_HOUR if is_duration else now() + IN_AN_HOUR)
    assert made.until is not None
    assert abs(made.until - now() - IN_AN_HOUR) < timedelta(minutes=1)
    seen = pausing.read_pause(connection, "mail")
    assert seen is not None
    assert seen.seconds_left == pytest.approx(3600, abs=60)
    assert seen.until == made.until.astimezone(timezone.utc).strftime("%Y-%m-%dT%H:%M:%SZ")

    end_pauses()

    assert paused_queues() == []
    assert pausing.read_pause(connection, "mail") is None
    assert not resume("mail")


def test_a_paused_queue_that_is_paused_again_has_been_paused_since_the_first_time():
    first = pause("mail", until=IN_AN_HOUR, comment="one", by="ada")

    second = pause("mail", comment="two", by="grace")

    assert second == ("mail", first.paused_at, None, "two", "grace")
    end_pauses()
    third = pause("mail")
    assert third.paused_at is not None
    assert first.paused_at is not None
    assert third.paused_at > first.paused_at
    assert Pause.objects.count() == 1


def test_a_row_of_a_processor_pauses_no_queue(manager):
    Pause.objects.create(queue_name="mail", processor_class="Letter")

    assert paused_queues() == []
    assert pausing.read_pause(connection, "mail") is None
    assert not heartbeat(connection, "mail", manager("mail")).is_paused


def test_a_heartbeat_sees_whether_its_queue_is_paused(manager):
    one, other = manager("mail"), manager("default")

    pause("mail", until=IN_AN_HOUR)

    assert heartbeat(connection, "mail", one).is_paused
    assert not heartbeat(connection, "default", other).is_paused
    end_pauses()
    assert not heartbeat(connection, "mail", one).is_paused


def test_a_pause_counts_with_the_commit_and_notifies_the_managers_then(second: BaseDatabaseWrapper):
    listener = Listener(second, CONTROL_CHANNEL)

    with transaction.atomic():
        pause("mail")
        during = (pausing.paused(second), listener.take())
    resume("mail")
    resume("mail")

    assert during == ([], {})
    received = wait_until(lambda: listener.take().get(CONTROL_CHANNEL))
    assert received is not None
    assert {(one.queue, one.look) for one in map(decoded, received) if one} == {("mail", "pause")}


def test_a_row_without_its_beginning_is_a_pause_too():
    Pause.objects.create(queue_name="mail", paused_at=None)

    seen = pausing.read_pause(connection, "mail")

    assert paused_queues() == [("mail", None, None, "", "")]
    assert seen == (0.0, None, None, "", "")


def test_code_that_does_not_know_when_a_pause_begins_writes_rows_that_do():
    with connection.cursor() as cursor:
        cursor.execute("INSERT INTO django_partisan_pause (queue_name) VALUES ('mail')")

    [found] = paused_queues()
    assert found.paused_at is not None


@pytest.mark.parametrize("act", [pause, resume])
def test_an_unknown_queue_is_refused_naming_the_known(act: Any):
    with pytest.raises(UnknownQueue, match="Unknown queue 'males'; known: 'default', 'mail'"):
        act("males")

    assert not Pause.objects.exists()


def test_a_queue_that_was_removed_from_the_settings_can_still_be_resumed():
    Pause.objects.create(queue_name="removed")

    assert resume("removed")


@pytest.mark.parametrize(
    ("until", "message"),
    [
        (timedelta(0), "expected a duration above 0"),
        (datetime(2000, 1, 1, tzinfo=timezone.utc), "2000-01-01T00:00:00\\+00:00, which is in the past"),
        (datetime(2100, 1, 1), "has no time zone"),  # noqa: DTZ001
    ],
)
def test_an_end_that_cannot_be_meant_is_refused(until: Any, message: str):
    with pytest.raises(ValueError, match=message):
        pause("mail", until=until)


def test_without_time_zones_an_end_is_local():
    end = make_naive(now() + IN_AN_HOUR)

    with override_settings(USE_TZ=False):
        pause("mail", until=end)

    [found] = paused_queues()
    assert found.until is not None
    assert abs(found.until - now() - IN_AN_HOUR) < timedelta(minutes=1)


def test_an_end_beyond_all_calendars_is_the_last_moment_that_can_be_stored():
    made = pause("mail", until=timedelta.max)

    assert made.until is not None
    assert made.until.year == now().year + 100
