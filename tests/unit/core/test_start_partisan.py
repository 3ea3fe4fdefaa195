"""The options of ``start_partisan``, and what it refuses before it queries the database."""

import io
from collections.abc import Iterator
from typing import Any, cast

import pytest
from django.core.management import CommandError, call_command
from django.utils import autoreload

from django_partisan import registry
from django_partisan.engine.manager.manager import Manager
from django_partisan.management.commands.start_partisan import (
    AUTORELOAD_STOP_SECONDS,
    Command,
    _stop_before_exit,
)
from tests.support.registry import Idle

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


@pytest.fixture(autouse=True)
def queues(settings: Any) -> None:
    settings.PARTISAN_CONFIG = {"mail": {"MAX_QUEUE_SIZE": 20}}


def start(*arguments: str) -> str:
    """Run the command with arguments; return its output on standard error."""
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


@pytest.mark.parametrize(
    ("arguments", "settings_given", "said"),
    [
        (["--queue-name=male"], {}, "Unknown queue 'male'; known: 'default', 'mail'."),
        (["--workers-count=0"], {}, "--workers_count is 0; expected an integer, at least 1."),
        ([], {"PARTISAN_CONFIG": {"images": {"WORKER_COUNT": 1}}}, "is 'WORKER_COUNT'; expected one of"),
        ([], {"PARTISAN_OBSERVABILITY": {"METRICS_PROT": 1}}, "is 'METRICS_PROT'; expected one of"),
        ([], {"MAX_QUEUE_SIZE": "ten"}, "MAX_QUEUE_SIZE is 'ten'; expected an integer, at least 1."),
        (["--metrics-port=-5"], {}, "--metrics-port is -5; expected a port from 0 to 65535."),
        (["--metrics-port=70000"], {}, "--metrics-port is 70000; expected a port from 0 to 65535."),
        (["--metrics-host="], {}, "--metrics-host is ''; expected a host name or address to bind."),
        (["--metrics-token-file="], {}, "--metrics-token-file is ''; expected a path, or None."),
        (
            ["--wait-for-database=-1"],
            {},
            "--wait-for-database is -1.0; expected a number of seconds, at least",
        ),
        (
            ["--wait-for-database=nan"],
            {},
            "--wait-for-database is nan; expected a number of seconds, at least",
        ),
    ],
)
def test_what_cannot_work_is_refused_in_one_line_before_the_database_is_asked(
    arguments, settings_given, said, settings
):
    for name, value in settings_given.items():
        setattr(settings, name, value)

    with pytest.raises(CommandError) as refused:
        start(*arguments)

    assert said in str(refused.value)
    assert "\n" not in str(refused.value)
    assert refused.value.returncode == 1


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["--workers", "3"], "ambiguous option: --workers could match --workers-count, --workers_count."),
        (["--workers-count", "many"], "argument --workers-count/--workers_count: invalid int value: 'many'."),
        (
            ["--once", "--until-empty"],
            "argument --until-empty/--until_empty: not allowed with argument --once.",
        ),
        (["mail"], "unrecognized arguments: mail."),
    ],
)
def test_a_command_line_that_cannot_be_read_is_refused_in_one_line_and_not_by_the_code_of_failed_tasks(
    arguments, said, capsys
):
    with pytest.raises(SystemExit) as refused:
        Command().run_from_argv(["manage.py", "start_partisan", *arguments])

    [line] = capsys.readouterr().err.splitlines()
    assert line == (
        f"manage.py start_partisan: {said} "
        "Write options in full; to list them, run: manage.py start_partisan --help"
    )
    assert refused.value.code == 1


def test_a_wrong_attribute_of_a_processor_is_refused():
    registry.register(type("Parcel", (Idle,), {"TRACE_PROPAGATION": "chlid"}))

    with pytest.raises(
        CommandError, match=r"^Parcel\.TRACE_PROPAGATION is 'chlid'; expected one of 'link', "
    ):
        start()


def test_once_and_until_empty_exclude_each_other():
    with pytest.raises(CommandError, match="not allowed with"):
        start("--once", "--until-empty")


def test_under_autoreload_a_refusal_waits_for_the_change_that_cures_it(monkeypatch):
    monkeypatch.setattr(autoreload, "run_with_reloader", lambda serve, options: serve(options))

    assert start("--autoreload", "--queue-name", "male").startswith("Unknown queue 'male'; known: 'default'")


class Stopped:
    """A stand-in for the manager that ends after ``stop()`` was called often enough."""

    def __init__(self, answers: list[bool]) -> None:
        self._answers: Iterator[bool] = iter(answers)
        self.asked: list[float] = []

    def stop(self, seconds: float) -> bool:
        self.asked.append(seconds)
        return next(self._answers)


@pytest.mark.parametrize("answers", [[True], [False, True]])
def test_before_a_reload_the_manager_is_asked_to_stop_and_then_to_end_by_force(answers):
    manager = Stopped(answers)

    _stop_before_exit(cast(Manager, manager))

    assert manager.asked == [AUTORELOAD_STOP_SECONDS] * len(answers)
