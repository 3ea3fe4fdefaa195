"""The options of ``start_partisan``, what they lead to, and what is printed and returned."""

import atexit
import io
from collections.abc import Callable, Iterator
from contextlib import contextmanager, nullcontext
from datetime import datetime, timezone
from functools import partial
from types import SimpleNamespace
from typing import Any

import pytest
from django.core.management import CommandError, call_command
from django.utils import autoreload

from django_partisan import registry
from django_partisan.config.queues import QueueConfig, queue_config
from django_partisan.engine.manager import startup
from django_partisan.engine.manager.drain import Until
from django_partisan.management.commands import start_partisan
from django_partisan.management.commands.start_partisan import AUTORELOAD_STOP_SECONDS, Command
from django_partisan.processor import BaseTaskProcessor
from django_partisan.sql.backlog import Waiting
from django_partisan.telemetry.setup import manager as manager_setup

DUE_AT = datetime(2030, 1, 2, 3, 4, 5, tzinfo=timezone.utc)
WITH_UNDERSCORES = (
    "--queue_name",
    "--min_queue_size",
    "--max_queue_size",
    "--checks_before_cleanup",
    "--workers_count",
    "--sleep_delay_seconds",
    "--stop_timeout_seconds",
    "--wait_for_database",
    "--metrics_port",
)


class Served:
    """Stand in for the manager: note with what it was made, and end with ``code``."""

    def __init__(self) -> None:
        self.config: QueueConfig | None = None
        self.waited_for: list[float] = []
        self.until: Until | None = None
        self.code = 0
        self.failed = 0
        self.waits = Waiting(0, None, None)
        self.stops: Iterator[bool] = iter(())
        self.asked: list[float] = []

    def make(self, spec: Any, until: Until | None) -> "Served":
        self.config, self.until = spec.config, until
        return self

    def run(self, serve: Any) -> int:
        return self.code

    def stop(self, seconds: float) -> bool:
        self.asked.append(seconds)
        return next(self.stops)


@pytest.fixture
def served(monkeypatch: pytest.MonkeyPatch, settings: Any) -> Served:
    made = Served()

    @contextmanager
    def watched(config: QueueConfig, *others: Any) -> Iterator[Any]:
        yield SimpleNamespace(worker_spec=SimpleNamespace(config=config), serve=None)

    connection = SimpleNamespace(close=lambda: None)
    monkeypatch.setattr(start_partisan, "Manager", made.make)
    monkeypatch.setattr(manager_setup, "set_up_manager", watched)
    monkeypatch.setattr(startup, "ensure_database", made.waited_for.append)
    monkeypatch.setattr(startup, "describe", lambda config: f"Serving {config.queue}.")
    monkeypatch.setattr(start_partisan, "open_connection", lambda role: connection)
    monkeypatch.setattr(start_partisan, "waiting", lambda connection, queue: made.waits)
    settings.PARTISAN_CONFIG = {"mail": {"MAX_QUEUE_SIZE": 20}}
    return made


def start(*arguments: str) -> str:
    """Start with a command line; return what was said on standard error."""
    said = io.StringIO()
    call_command("start_partisan", *arguments, stderr=said)
    return said.getvalue()


def parse(*arguments: str) -> Any:
    return Command().create_parser("manage.py", "start_partisan").parse_args(arguments)


@pytest.mark.parametrize("option", WITH_UNDERSCORES)
def test_an_option_with_hyphens_is_the_same_as_with_underscores(option):
    name = option.removeprefix("--")

    assert vars(parse(option, "7"))[name] in (7, "7")
    assert parse(option, "7") == parse(option.replace("_", "-"), "7")


def test_the_timeout_of_a_stop_has_a_short_name():
    assert parse("--stop-timeout", "25").stop_timeout_seconds == 25


def test_with_a_queue_name_that_queue_is_served_with_its_settings(served):
    assert start("--queue_name", "mail") == "Serving mail.\n"
    assert (served.config.queue, served.config.max_queue_size) == ("mail", 20)


def test_options_win_over_settings_and_zero_is_a_value(served):
    start(
        "--min-queue-size=0", "--max_queue_size=5", "--checks_before_cleanup=9", "--workers_count=3",
        "--sleep_delay_seconds=0.5", "--stop-timeout=0",
    )  # fmt: skip

    assert served.config == queue_config(
        min_queue_size=0,
        max_queue_size=5,
        checks_before_cleanup=9,
        workers_count=3,
        sleep_delay_seconds=0.5,
        stop_timeout_seconds=0,
    )


def test_the_command_can_be_called_from_code(served):
    call_command("start_partisan", queue_name="mail", workers_count=2, stderr=io.StringIO())

    assert (served.config.queue, served.config.workers_count) == ("mail", 2)


@pytest.mark.parametrize(
    ("arguments", "settings_given", "said"),
    [
        (["--queue-name=male"], {}, "Unknown queue 'male'; known: 'default', 'mail'."),
        (["--workers-count=0"], {}, "--workers_count is 0; expected an integer, at least 1."),
        ([], {"PARTISAN_CONFIG": {"images": {"WORKER_COUNT": 1}}}, "is 'WORKER_COUNT'; expected one of"),
        ([], {"PARTISAN_OBSERVABILITY": {"METRICS_PROT": 1}}, "is 'METRICS_PROT'; expected one of"),
        ([], {"MAX_QUEUE_SIZE": "ten"}, "MAX_QUEUE_SIZE is 'ten'; expected an integer, at least 1."),
    ],
)
def test_what_cannot_work_is_refused_in_one_line_before_anything_starts(
    arguments, settings_given, said, served, settings
):
    for name, value in settings_given.items():
        setattr(settings, name, value)

    with pytest.raises(CommandError) as refused:
        start(*arguments)

    assert said in str(refused.value)
    assert "\n" not in str(refused.value)
    assert refused.value.returncode == 1
    assert served.config is None
    assert served.waited_for == []


def test_a_wrong_attribute_of_a_processor_is_refused(served):
    registry.register(type("Parcel", (BaseTaskProcessor,), {"TRACE_PROPAGATION": "chlid"}))

    with pytest.raises(
        CommandError, match=r"^Parcel\.TRACE_PROPAGATION is 'chlid'; expected one of 'link', "
    ):
        start()

    assert served.config is None


@pytest.mark.parametrize(
    ("arguments", "until"), [(["--once"], Until.IDLE), (["--until_empty"], Until.EMPTY), ([], None)]
)
def test_an_option_says_when_the_manager_stops_without_being_asked(arguments, until, served):
    start(*arguments)

    assert served.until is until


def test_once_and_until_empty_exclude_each_other(served):
    with pytest.raises(CommandError, match="not allowed with"):
        start("--once", "--until-empty")


@pytest.mark.parametrize(
    ("waits", "said"),
    [
        (Waiting(0, None, None), "Nothing waits in queue 'default'."),
        (
            Waiting(1, DUE_AT, 60.0),
            "1 task waits in queue 'default'; the next is due at 2030-01-02 03:04:05 UTC.",
        ),
        (
            Waiting(7, DUE_AT, 60.0),
            "7 tasks wait in queue 'default'; the next is due at 2030-01-02 03:04:05 UTC.",
        ),
    ],
)
def test_once_says_how_many_wait_and_when_the_next_is_due(waits, said, served):
    served.waits = waits

    assert start("--once").splitlines()[-1] == said


@pytest.mark.parametrize(
    ("arguments", "code", "exit_code", "said"),
    [
        (["--once"], 2, 2, "Serving default.\n3 failed. Nothing waits in queue 'default'.\n"),
        ([], 2, 0, "Serving default.\n"),
        ([], 1, 1, "Serving default.\n"),
    ],
    ids=["once, and tasks failed", "stopped, and tasks failed", "ended tasks by force"],
)
def test_the_exit_code_says_how_it_ended(arguments, code, exit_code, said, served, capsys):
    served.code, served.failed = code, 3
    written = io.StringIO()

    with pytest.raises(SystemExit) if exit_code else nullcontext() as ended:
        call_command("start_partisan", *arguments, stderr=written)

    assert (ended.value.code if ended else 0) == exit_code
    assert written.getvalue() == said
    assert capsys.readouterr().out == ""


def test_under_autoreload_a_refusal_waits_for_the_change_that_cures_it(served, monkeypatch):
    monkeypatch.setattr(autoreload, "run_with_reloader", lambda serve, options: serve(options))

    said = start("--autoreload", "--queue-name", "male")

    assert said.startswith("Unknown queue 'male'; known: 'default', 'mail'.")
    assert served.config is None


@pytest.mark.parametrize(("stops", "asked"), [([True], 1), ([False, True], 2)])
def test_under_autoreload_the_manager_is_asked_to_stop_before_the_process_ends(
    stops, asked, served, monkeypatch
):
    served.stops = iter(stops)
    at_exit: list[Callable[[], None]] = []
    monkeypatch.setattr(atexit, "register", lambda *call: at_exit.append(partial(*call)))
    monkeypatch.setattr(autoreload, "run_with_reloader", lambda serve, options: serve(options))
    start("--autoreload")

    [stop] = at_exit
    stop()

    assert served.asked == [AUTORELOAD_STOP_SECONDS] * asked
