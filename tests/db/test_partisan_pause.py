"""The commands that pause and resume queues report what they did, and which tasks still run."""

import getpass
from collections.abc import Iterator
from io import StringIO
from typing import Any

import pytest
from django.core.management import call_command
from django.core.management.base import CommandError
from django.test import override_settings

from django_partisan.models import Pause
from django_partisan.pausing import pause, paused_queues
from tests.support.rows import claimed

pytestmark = [pytest.mark.django_db, pytest.mark.usefixtures("two_queues")]


@pytest.fixture
def two_queues() -> Iterator[None]:
    with override_settings(PARTISAN_CONFIG={"default": {}, "mail": {}}):
        yield


def run(*arguments: str) -> list[str]:
    out = StringIO()
    call_command(*arguments, stdout=out, no_color=True)
    return out.getvalue().splitlines()


def names() -> list[str]:
    return [paused.queue_name for paused in paused_queues()]


def test_a_queue_is_paused_until_it_is_resumed():
    assert run("partisan_pause", "--queue-name", "mail", "--comment", "it moves") == [
        "Paused queue 'mail' until it is resumed."
    ]

    [paused] = paused_queues()
    assert (paused.queue_name, paused.comment) == ("mail", "it moves")
    assert paused.by.startswith(f"{getpass.getuser()}@")
    assert run("partisan_resume", "--queue_name", "mail") == ["Resumed queue 'mail'."]
    assert run("partisan_resume", "--queue-name", "mail") == ["Queue 'mail' was not paused."]


def test_a_pause_for_some_time_says_when_it_ends():
    [said] = run("partisan_pause", "--queue-name", "mail", "--for", "2h")

    assert said.startswith("Paused queue 'mail' until 2")
    assert Pause.objects.get().until is not None


def test_all_queues_of_the_settings_are_paused_and_all_that_are_paused_resumed():
    assert run("partisan_resume", "--all") == ["No queue is paused."]

    run("partisan_pause", "--all")
    Pause.objects.create(queue_name="removed")

    assert names() == ["default", "mail", "removed"]
    assert len(run("partisan_resume", "--all")) == 3
    assert names() == []


@pytest.mark.parametrize(("number", "said"), [(1, "1 task is"), (2, "2 tasks are")])
def test_it_says_how_many_tasks_are_in_process(number: int, said: str):
    claimed(number, queue="mail")

    [_, in_process] = run("partisan_pause", "--queue-name", "mail")

    assert in_process == f"{said} in process: running tasks finish, the others are released."


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--queue-name", "males"], "Unknown queue 'males'; known: 'default', 'mail'"),
        ([], "one of the arguments --queue-name"),
        (["--queue-name", "mail", "--all"], "not allowed with"),
    ],
)
@pytest.mark.parametrize("command", ["partisan_pause", "partisan_resume"])
def test_a_queue_that_cannot_be_meant_is_refused(command: str, arguments: list[str], message: str):
    with pytest.raises(CommandError, match=message):
        run(command, *arguments)

    assert names() == []


@pytest.mark.parametrize("length", ["0", "soon"])
def test_a_time_that_cannot_be_meant_is_refused(length: str):
    with pytest.raises(CommandError, match=f"'{length}' is not a duration"):
        run("partisan_pause", "--all", "--for", length)


def test_a_user_without_a_name_may_pause_too(monkeypatch: Any):
    def refuse() -> str:
        raise KeyError("uid not found: 1234")

    monkeypatch.setattr(getpass, "getuser", refuse)

    run("partisan_pause", "--queue-name", "mail")

    assert paused_queues()[0].by.startswith("unknown@")


def test_a_queue_that_is_paused_is_paused_anew_with_another_end():
    pause("mail", comment="one")

    run("partisan_pause", "--queue-name", "mail", "--for", "5m", "--comment", "two")

    [paused] = paused_queues()
    assert paused.comment == "two"
    assert paused.until is not None
