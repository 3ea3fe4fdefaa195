"""The options of ``start_partisan``, what they lead to, and what is said and returned."""

import atexit
import io
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import datetime, timezone
from types import SimpleNamespace
from typing import Any

import pytest
from django.core.management import CommandError, call_command
from django.utils import autoreload

from django_partisan import registry
from django_partisan.config.queues import QueueConfig
from django_partisan.engine.manager import startup
from django_partisan.exceptions import CannotStart
from django_partisan.management.commands import start_partisan
from django_partisan.management.commands.start_partisan import Command
from django_partisan.processor import BaseTaskProcessor
from django_partisan.sql.backlog import Waiting
from django_partisan.telemetry.setup import manager as manager_watching

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
        self.ending: Callable[[Any], bool] | None = None
        self.watched_by: Any = None
        self.code = 0
        self.settler = self
        self.failed = 0
        self.waits = Waiting(0, None, None)

    def make(self, config: QueueConfig, spec_of_worker: Any, ending: Any) -> "Served":
        self.config, self.ending = config, ending
        return self

    def run(self, watched_by: Any) -> int:
        self.watched_by = watched_by
        return self.code


@pytest.fixture
def served(monkeypatch: pytest.MonkeyPatch, settings: Any) -> Served:
    made = Served()

    @contextmanager
    def watched(config: QueueConfig, *others: Any) -> Iterator[Any]:
        yield SimpleNamespace(spec_of_worker=None, serve=f"metrics of {config.queue}")

    connection = SimpleNamespace(close=lambda: None)
    monkeypatch.setattr(start_partisan, "Manager", made.make)
    monkeypatch.setattr(manager_watching, "manager_watched", watched)
    monkeypatch.setattr(startup, "demand_database", made.waited_for.append)
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


def test_without_a_queue_name_the_default_queue_is_served(served):
    start()

    assert served.config.queue == "default"


def test_with_a_queue_name_that_queue_is_served_with_its_settings(served):
    assert start("--queue_name", "mail") == "Serving mail.\n"
    assert (served.config.queue, served.config.max_queue_size) == ("mail", 20)


def test_options_win_over_settings_and_zero_is_a_value(served):
    start("--queue-name=mail", "--min-queue-size=0", "--max_queue_size=5", "--workers_count=3")

    config = served.config
    assert (config.min_queue_size, config.max_queue_size, config.workers_count) == (0, 5, 3)


def test_all_sizes_counts_and_seconds_can_be_overridden(served):
    start("--checks_before_cleanup=9", "--sleep_delay_seconds=0.5", "--stop-timeout=0")

    config = served.config
    assert config.checks_before_cleanup == 9
    assert (config.sleep_delay_seconds, config.stop_timeout_seconds) == (0.5, 0)


def test_the_command_can_be_called_from_code(served):
    call_command("start_partisan", queue_name="mail", workers_count=2, stderr=io.StringIO())

    assert (served.config.queue, served.config.workers_count) == ("mail", 2)


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["--queue-name=male"], "Unknown queue 'male'; known: 'default', 'mail'."),
        (["--workers-count=0"], "--workers_count is 0; expected an integer, at least 1."),
        (
            ["--min-queue-size=11"],
            "--min_queue_size is 11; expected at most 10, which is the default of MAX_",
        ),
        (["--sleep-delay-seconds=0"], "--sleep_delay_seconds is 0.0; expected a number of seconds"),
    ],
)
def test_what_cannot_work_is_refused_in_one_line_before_anything_starts(arguments, said, served):
    with pytest.raises(CommandError) as refused:
        start(*arguments)

    assert said in str(refused.value)
    assert "\n" not in str(refused.value)
    assert refused.value.returncode == 1
    assert served.config is None
    assert served.waited_for == []


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("PARTISAN_CONFIG", {"images": {"WORKER_COUNT": 1}}),
        ("PARTISAN_OBSERVABILITY", {"METRICS_PROT": 1}),
        ("MAX_QUEUE_SIZE", "ten"),
    ],
)
def test_a_wrong_setting_of_whichever_queue_is_refused(name, value, served, settings):
    setattr(settings, name, value)

    with pytest.raises(CommandError, match="expected"):
        start()

    assert served.config is None


def test_a_wrong_attribute_of_a_processor_is_refused(served):
    registry.register(type("Parcel", (BaseTaskProcessor,), {"TRACE_PROPAGATION": "chlid"}))

    with pytest.raises(
        CommandError, match=r"^Parcel\.TRACE_PROPAGATION is 'chlid'; expected one of 'link', "
    ):
        start()

    assert served.config is None


def test_a_database_that_is_not_there_is_refused_with_its_reason(served, monkeypatch):
    def refuse(wait_seconds: float) -> None:
        raise CannotStart("The database is out of reach.")

    monkeypatch.setattr(startup, "demand_database", refuse)

    with pytest.raises(CommandError, match="out of reach"):
        start()


def test_the_database_is_waited_for_as_long_as_asked(served):
    start()
    start("--wait-for-database", "2.5")

    assert served.waited_for == [0.0, 2.5]


def test_the_manager_runs_under_the_eyes_of_those_who_watch_its_queue(served):
    start("--queue-name", "mail")

    assert served.watched_by == "metrics of mail"


def test_a_manager_that_serves_has_no_end_of_its_own(served):
    start()

    assert served.ending is None


def test_once_ends_when_nothing_is_due(served):
    start("--once")

    assert served.ending(SimpleNamespace(is_idle=True)) is True
    assert served.ending(SimpleNamespace(is_idle=False)) is False


@pytest.mark.parametrize(
    ("idle", "next_due_in", "ends"), [(True, None, True), (True, 5.0, False), (False, None, False)]
)
def test_until_empty_ends_when_nothing_waits(idle, next_due_in, ends, served):
    start("--until_empty")

    manager = SimpleNamespace(is_idle=idle, claimer=SimpleNamespace(next_due_in=next_due_in))
    assert served.ending(manager) is ends


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


def test_once_exits_with_2_if_a_task_failed_and_says_how_many(served, capsys):
    served.code, served.failed = 2, 3
    said = io.StringIO()

    with pytest.raises(SystemExit) as ended:
        call_command("start_partisan", "--once", stderr=said)

    assert ended.value.code == 2
    assert said.getvalue().endswith("3 failed. Nothing waits in queue 'default'.\n")
    assert capsys.readouterr().out == ""


def test_a_manager_that_was_stopped_exits_with_0_even_if_tasks_failed(served):
    served.code = 2

    assert start() == "Serving default.\n"


def test_a_manager_that_ended_running_tasks_by_force_exits_with_1(served):
    served.code = 1

    with pytest.raises(SystemExit) as ended:
        start()

    assert ended.value.code == 1


def test_help_shows_options_in_both_spellings_exit_codes_and_examples():
    text = Command().create_parser("manage.py", "start_partisan").format_help()

    assert "--queue-name" in text
    assert "--queue_name" in text
    assert "exit codes:\n  0  stopped as asked" in text
    assert "  manage.py start_partisan --once" in text


def test_under_autoreload_a_refusal_waits_for_the_change_that_cures_it(served, monkeypatch):
    monkeypatch.setattr(autoreload, "run_with_reloader", lambda serve, options: serve(options))

    said = start("--autoreload", "--queue-name", "male")

    assert said.startswith("Unknown queue 'male'; known: 'default', 'mail'.")
    assert served.config is None


class Reloaded(Served):
    """A manager that Django's reloader stops: it ends when asked for the ``ends_at``-th time."""

    def __init__(self, ends_at: int) -> None:
        super().__init__()
        self.has_ended = threading.Event()
        self.wakeup = self
        self.shutdown = self
        self.asked = 0
        self.ends_at = ends_at

    def ask(self) -> None:
        self.asked += 1
        if self.asked == self.ends_at:
            self.has_ended.set()

    def deliver(self, ask: Callable[[], None]) -> None:
        ask()


@pytest.mark.parametrize("ends_at", [1, 2])
def test_under_autoreload_the_manager_is_asked_to_stop_before_the_process_ends(ends_at, served, monkeypatch):
    manager = Reloaded(ends_at)
    at_exit: list[Callable[[], None]] = []
    monkeypatch.setattr(start_partisan, "Manager", manager.make)
    monkeypatch.setattr(start_partisan, "AUTORELOAD_STOP_SECONDS", 0.01)
    monkeypatch.setattr(atexit, "register", at_exit.append)
    monkeypatch.setattr(autoreload, "run_with_reloader", lambda serve, options: serve(options))
    start("--autoreload")

    [stop] = at_exit
    stop()

    assert manager.asked == ends_at
