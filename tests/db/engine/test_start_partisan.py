"""``start_partisan`` in this process: its output and its exit code when its manager ends."""

import atexit
import gc
import io
import os
import signal
from collections.abc import Callable, Iterator
from datetime import datetime, timezone
from functools import partial
from threading import Thread
from typing import Any

import pytest
from django.core.management import call_command
from django.db import connection, connections
from django.test import override_settings
from django.utils import autoreload

from django_partisan.management.commands.start_partisan import Command
from django_partisan.telemetry.bus import Subscriber
from django_partisan.telemetry.events import Event
from django_partisan.telemetry.events.managers import ManagerStopped
from django_partisan.telemetry.events.workers import WorkerReady
from tests.support import events
from tests.support.database import ELSEWHERE, database_elsewhere
from tests.support.rows import insert, insert_many, number_of
from tests.support.telemetry import telemetry_kept
from tests.support.waiting import wait_until

DUE_AT = datetime(2130, 1, 2, 3, 4, 5, tzinfo=timezone.utc)

pytestmark = [
    pytest.mark.django_db(transaction=True),
    pytest.mark.usefixtures("temporary_folder"),
]


@pytest.fixture(autouse=True)
def process_as_it_was() -> Iterator[None]:
    with telemetry_kept():
        yield


class Stopping(Subscriber):
    """Stop the manager, in a thread, when its worker is ready."""

    def __init__(self, stop: Callable[[], None]) -> None:
        self._thread = Thread(target=stop)

    def handle(self, event: Event) -> None:
        if isinstance(event, WorkerReady):
            self._thread.start()


def start(**options: Any) -> str:
    """Call the command with one worker; return its output on standard error."""
    said = io.StringIO()
    try:
        call_command("start_partisan", workers_count=1, stderr=said, **options)
    except SystemExit as ended:
        said.write(f"exit code {ended.code}")
    return said.getvalue()


@override_settings(PARTISAN_CONFIG={"mail": {}})
def test_once_serves_the_queue_it_is_told_and_says_what_failed_and_waits(capsys):
    insert("mail", processor="Fail")
    insert("mail", execute_after=DUE_AT)
    insert("mail", execute_after=DUE_AT)

    serving, *ending = start(once=True, queue_name="mail").splitlines()

    assert serving.startswith("Serving queue 'mail' with 1 worker: ")
    assert ending == [
        "1 failed. 2 tasks wait in queue 'mail'; the next is due at 2130-01-02 03:04:05 UTC.",
        "exit code 2",
    ]
    assert capsys.readouterr().out == ""


def test_until_empty_ends_well_when_nothing_waits():
    _, *ending = start(until_empty=True).splitlines()

    assert ending == ["Nothing waits in queue 'default'."]


def test_garbage_collections_do_not_look_at_what_was_loaded_before_it_serves():
    loaded = [object()]

    start(until_empty=True)

    assert not any(one is loaded for one in gc.get_objects())


@pytest.mark.parametrize(("number", "held"), [(1, "1 task is held"), (3, "3 tasks are held")])
def test_until_empty_ends_well_beside_tasks_of_unknown_processors_and_says_that_they_are_held(number, held):
    insert_many(number, "Nobody")

    _, *ending = start(until_empty=True).splitlines()

    assert ending == [f"Nothing waits in queue 'default'. {held}; partisan_doctor shows why."]
    assert number_of("new", held="unregistered") == number


def test_stopped_by_a_signal_it_ends_well_though_a_task_failed():
    insert(processor="Fail")

    def stop() -> None:
        wait_until(lambda: number_of("error") == 1)
        connections.close_all()
        os.kill(os.getpid(), signal.SIGTERM)

    with events.subscribed(Stopping(stop)):
        said = start()

    assert len(said.splitlines()) == 1


def test_under_autoreload_the_end_of_the_process_stops_the_manager(monkeypatch):
    at_exit: list[Callable[[], None]] = []
    monkeypatch.setattr(atexit, "register", lambda *call: at_exit.append(partial(*call)))
    monkeypatch.setattr(autoreload, "run_with_reloader", lambda serve, options: serve(options))

    with events.subscribed(Stopping(lambda: at_exit[-1]())):
        said = start(autoreload=True)

    assert len(said.splitlines()) == 1


@pytest.fixture
def files() -> Iterator[None]:
    """Make the task database one that is not PostgreSQL."""
    with database_elsewhere(ENGINE="django.db.backends.sqlite3", NAME=":memory:"):
        yield


@pytest.mark.usefixtures("files")
def test_under_autoreload_another_database_is_refused_by_the_process_that_restarts_on_a_change(monkeypatch):
    served: list[dict[str, Any]] = []
    monkeypatch.setattr(autoreload, "run_with_reloader", lambda serve, options: served.append(options))
    start(autoreload=True)
    monkeypatch.setattr(autoreload, "run_with_reloader", lambda serve, options: serve(options))

    [line] = start(autoreload=True).splitlines()

    assert len(served) == 1
    assert line.startswith(f"The tasks' database {ELSEWHERE!r} is sqlite; django-partisan needs PostgreSQL.")


class Unplugging(Subscriber):
    """After the manager has ended, make new connections go to a port on which nothing listens."""

    def handle(self, event: Event) -> None:
        if isinstance(event, ManagerStopped):
            connection.settings_dict.update(HOST="127.0.0.1", PORT=1)


def test_without_the_database_in_the_end_it_still_says_whether_a_task_failed():
    insert(processor="Fail")
    before = dict(connection.settings_dict)
    try:
        with events.subscribed(Unplugging()):
            _, *ending = start(once=True).splitlines()
    finally:
        connection.settings_dict.update(before)

    failed, code = ending
    assert failed.startswith("1 failed. The database ")
    assert failed.endswith(" Start it, or correct DATABASES.")
    assert code == "exit code 2"


@pytest.mark.parametrize(
    ("arguments", "settings", "parts"),
    [
        ([], {"PARTISAN_CONFIG": {"default": {"WORKER_COUNT": 5}}}, ["'WORKER_COUNT'"]),
        ([], {"SLEEP_DELAY_SECONDS": "often"}, ["SLEEP_DELAY_SECONDS is 'often'"]),
        (
            ["--queue-name", "nobody"],
            {"PARTISAN_CONFIG": {"default": {}, "mail": {}}},
            ["'nobody'", "'default', 'mail'"],
        ),
        (["--min-queue-size", "20", "--max-queue-size", "10"], {}, ["20", "10"]),
        (["--max-queue-size", "0"], {}, ["is 0; expected an integer, at least 1"]),
    ],
    ids=["unknown setting", "wrong flat setting", "unknown queue", "MIN above MAX", "zero is a value"],
)
def test_wrong_settings_end_the_command_with_one_line_that_names_them(capsys, arguments, settings, parts):
    with override_settings(**settings), pytest.raises(SystemExit) as ended:
        Command().run_from_argv(["manage.py", "start_partisan", *arguments])

    said = capsys.readouterr()
    assert (ended.value.code, said.out) == (1, "")
    [line] = said.err.splitlines()
    assert [part for part in parts if part not in line] == []


@override_settings(PARTISAN_IMMEDIATE=True)
def test_immediate_mode_is_told_before_the_manager_serves():
    notice, serving, *_ = start(until_empty=True).splitlines()

    assert "PARTISAN_IMMEDIATE" in notice
    assert serving.startswith("Serving queue 'default'")
