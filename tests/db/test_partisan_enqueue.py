"""Enqueueing a task with the command."""

import json
from datetime import datetime, timedelta
from datetime import timezone as datetime_timezone
from io import StringIO

import pytest
from django.core.management import call_command
from django.core.management.base import CommandError
from django.test import override_settings
from django.utils import timezone

from django_partisan import registry
from django_partisan.models import Task
from tests.support.registry import Idle

pytestmark = pytest.mark.django_db


def run(*arguments: str) -> str:
    out = StringIO()
    call_command(*arguments, stdout=out, no_color=True)
    return out.getvalue()


class Letter(Idle):
    def __init__(self, to: str, copies: int = 1) -> None:
        super().__init__(to, copies=copies)


@pytest.fixture
def letter(own_registry: None) -> None:
    registry.register(Letter)


@pytest.mark.usefixtures("letter")
def test_enqueue_stores_arguments_priority_and_queue_and_says_the_id():
    options = ["--args", '["ada"]', "--kwargs", '{"copies": 2}', "--priority", "0", "--queue-name", "default"]

    out = run("partisan_enqueue", "Letter", *options)

    task = Task.objects.get()
    assert task.arguments == {"args": ["ada"], "kwargs": {"copies": 2}}
    assert (task.priority, task.queue_name, task.ready) == (0, "default", True)
    assert out.startswith(f"Enqueued task {task.pk}: Letter, queue 'default', priority 0, due at ")


@pytest.mark.usefixtures("letter")
@pytest.mark.parametrize(("at", "days"), [("2d", 2), ("172800", 2)])
def test_enqueue_takes_a_duration_from_now(at, days):
    run("partisan_enqueue", "Letter", "--args", '["ada"]', "--at", at)

    task = Task.objects.get()
    assert not task.ready
    assert abs(task.execute_after - timezone.now() - timedelta(days=days)) < timedelta(minutes=1)


@pytest.mark.usefixtures("letter")
@pytest.mark.parametrize("expires", ["2h", "2040-01-01T02:00Z"])
def test_enqueue_takes_an_expiry(expires):
    options = ["--at", "2040-01-01T00:00Z", "--expires", expires]

    run("partisan_enqueue", "Letter", "--args", '["ada"]', *options)

    assert Task.objects.get().expires_at == datetime(2040, 1, 1, 2, tzinfo=datetime_timezone.utc)


@pytest.mark.usefixtures("letter")
def test_enqueue_takes_a_moment():
    run("partisan_enqueue", "Letter", "--args", '["ada"]', "--at", "2026-11-29T12:00Z")

    assert Task.objects.get().execute_after == datetime(2026, 11, 29, 12, tzinfo=datetime_timezone.utc)


@pytest.mark.usefixtures("letter")
def test_enqueue_says_that_a_duplicate_waits():
    run("partisan_enqueue", "Letter", "--args", '["ada"]')

    out = run("partisan_enqueue", "Letter", "--args", '["ada"]')

    task = Task.objects.get()
    assert out == f"Task {task.pk} with these arguments is already waiting; enqueued nothing.\n"


@pytest.mark.usefixtures("letter")
@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["Leter"], "No processor is registered as 'Leter'. Did you mean Letter?"),
        (["Zebra"], "No processor is registered as 'Zebra'. Known: Letter."),
        (["Letter"], "Letter cannot be enqueued: .*missing 1 required positional argument: 'to'"),
        (["Letter", "--args", '["ada"]', "--queue-name", "nowhere"], "cannot be enqueued: .*nowhere"),
        (["Letter", "--args", "[NaN]"], "cannot be enqueued"),
        (["Letter", "--args", '"ada"'], "is JSON of another type; expected an array"),
        (["Letter", "--kwargs", "[]"], "is JSON of another type; expected an object"),
        (["Letter", "--args", "[ada]"], "is not JSON .*; expected an array"),
        (["Letter", "--at", "soon"], "'soon' is not a moment"),
    ],
)
def test_what_cannot_be_enqueued_is_refused_with_the_remedy(arguments, message):
    with pytest.raises(CommandError, match=message):
        run("partisan_enqueue", *arguments)
    assert not Task.objects.exists()


@override_settings(USE_TZ=False)
@pytest.mark.usefixtures("letter")
def test_enqueue_works_without_time_zones():
    run("partisan_enqueue", "Letter", "--args", json.dumps(["ada"]), "--at", "2h")

    assert Task.objects.count() == 1
