"""The effects of --log-format and --log-file, and what they leave unchanged."""

import io
import json
import logging
import os
import sys
import threading

import pytest
from django.test import override_settings

from django_partisan import logs
from django_partisan.exceptions import CannotStart
from django_partisan.logs import configuration, dropped, install, setup
from django_partisan.logs.console import ConsoleFormatter
from django_partisan.logs.ecs import EcsFormatter, NestedFormatter
from django_partisan.logs.handlers import AppendingHandler, StandardStreamHandler
from django_partisan.logs.log_event import APP, MANAGER, WORKER
from django_partisan.logs.subscriber import LOGGER
from django_partisan.telemetry import bus
from django_partisan.telemetry.events.managers import ManagerStarted
from django_partisan.telemetry.events.queues import ClaimFailed, TasksReleased
from django_partisan.telemetry.events.tasks import TaskDeduplicated
from tests.unit.logs import samples


@pytest.fixture
def top() -> logging.Logger:
    return logging.getLogger(LOGGER)


def test_auto_is_console_where_no_logging_is_set_up(top, monkeypatch):
    monkeypatch.setattr(logging.root, "handlers", [])  # removes pytest's own
    top.addHandler(logging.NullHandler())

    assert configuration.resolve("auto") == "console"


@pytest.mark.parametrize("name", ["", LOGGER])
def test_auto_is_host_where_logging_is_set_up(name, monkeypatch):
    monkeypatch.setattr(logging.root, "handlers", [])
    logging.getLogger(name).addHandler(logging.StreamHandler())

    assert configuration.resolve("auto") == "host"


def test_auto_with_a_file_is_console_in_the_file():
    assert configuration.resolve("auto", "a.log") == "console"


def test_host_changes_nothing(top):
    before = (list(top.handlers), top.level, top.propagate)

    setup(MANAGER, "host")

    assert (top.handlers, top.level, top.propagate) == before


@pytest.mark.parametrize(
    ("log_format", "formatter"),
    [("ecs", EcsFormatter), ("json", NestedFormatter), ("console", ConsoleFormatter)],
)
def test_a_format_puts_one_handler_on_standard_output(top, log_format, formatter):
    top.addHandler(logging.StreamHandler())
    logging.getLogger(f"{LOGGER}.worker").addHandler(logging.StreamHandler())

    setup(MANAGER, "json")
    setup(MANAGER, log_format)

    (handler,) = top.handlers
    assert isinstance(handler, StandardStreamHandler)
    assert handler.fd == 1
    assert type(handler.formatter) is formatter
    assert not top.propagate
    assert top.getEffectiveLevel() == logging.INFO
    assert logging.getLogger(f"{LOGGER}.worker").handlers == []


def test_a_level_of_the_hosts_stays_and_a_disabled_logger_is_enabled(top):
    top.setLevel(logging.ERROR)
    top.disabled = True

    setup(MANAGER, "ecs")

    assert top.level == logging.ERROR
    assert not top.disabled


def test_a_file_gets_the_lines_instead(top, tmp_path, capfd):
    setup(MANAGER, "json", tmp_path / "a.log")
    bus.emit(ManagerStarted, "default", 4, "2.0.0", None)
    bus.close(10.0)

    assert isinstance(top.handlers[0], AppendingHandler)
    assert json.loads((tmp_path / "a.log").read_text())["event"]["action"] == "manager.started"
    assert capfd.readouterr() == ("", "")


def test_standard_output_carries_lines_of_json_only(capfd):
    setup(MANAGER, "ecs")

    bus.emit(ManagerStarted, "default", 4, "2.0.0", None)
    bus.emit(ClaimFailed, "default", samples.ERROR)
    bus.close(10.0)

    out, err = capfd.readouterr()
    assert [json.loads(line)["event.action"] for line in out.splitlines()] == [
        "manager.started",
        "claim.failed",
    ]
    assert err == ""


@override_settings(PARTISAN_OBSERVABILITY={"LOG_MAX_LINE_BYTES": 2048})
def test_the_longest_line_is_a_setting(capfd):
    setup(MANAGER, "ecs")

    bus.emit(ClaimFailed, "default", samples.ERROR._replace(stack_trace="x" * 9000))
    bus.close(10.0)

    assert 1900 < len(capfd.readouterr().out) <= 2048


@pytest.mark.parametrize(
    ("log_format", "log_file", "message"),
    [
        ("xml", None, r"--log-format is 'xml'; expected one of auto, host, ecs, json, console\."),
        ("host", "a.log", "--log-file cannot be used with --log-format host"),
        ("ecs", "/none/a.log", "--log-file /none/a.log: No such file or directory"),
    ],
)
def test_a_manager_does_not_start_with(log_format, log_file, message):
    with pytest.raises(CannotStart, match=message):
        setup(MANAGER, log_format, log_file)


def test_a_manager_does_not_start_with_a_fifo_that_nobody_reads(tmp_path):
    os.mkfifo(tmp_path / "fifo")

    with pytest.raises(CannotStart, match=r"fifo: nobody reads this FIFO\. Start its reader first\."):
        setup(MANAGER, "ecs", tmp_path / "fifo")


def test_a_worker_starts_without_its_log_file(tmp_path, top):
    setup(WORKER, "ecs", tmp_path / "none" / "a.log")

    assert isinstance(top.handlers[0], AppendingHandler)


@pytest.mark.parametrize(("stdout", "are_colours"), [(io.StringIO(), True), (None, False)])
def test_there_are_colours_only_where_standard_output_is_a_terminal(top, monkeypatch, stdout, are_colours):
    monkeypatch.setattr(os, "isatty", lambda descriptor: True)
    monkeypatch.setattr(sys, "__stdout__", stdout)
    setup(MANAGER, "console")

    line = top.handlers[0].format(logging.makeLogRecord({"name": LOGGER, "msg": "one"}))

    assert ("\x1b[" in line) is are_colours


def test_installing_twice_logs_every_event_once(caplog):
    install()
    install()
    with caplog.at_level(logging.INFO, LOGGER):
        bus.emit(TaskDeduplicated, samples.TASK)

    assert len(caplog.records) == 1
    assert caplog.records[0].name == f"{LOGGER}.{APP}"


@pytest.mark.parametrize("role", [MANAGER, WORKER])
def test_lines_are_logged_under_the_name_of_the_process(role, tmp_path):
    setup(role, "ecs", tmp_path / "a.log")

    bus.emit(TaskDeduplicated, samples.TASK)
    bus.close(10.0)

    assert json.loads((tmp_path / "a.log").read_text())["log.logger"] == f"{LOGGER}.{role}"


@pytest.mark.parametrize("is_standard_error", [True, False])
def test_a_command_says_its_lines_where_it_is_told_to(is_standard_error, capfd):
    stream = io.StringIO()
    if is_standard_error:
        stream.fileno = lambda: 2  # type: ignore[method-assign]
    setup(MANAGER, "ecs")

    logs.print_line("Serving", stream)

    assert (stream.getvalue(), capfd.readouterr().err) == (
        ("", "Serving\n") if is_standard_error else ("Serving\n", "")
    )


def test_a_handler_of_last_resort_of_the_hosts_stays(monkeypatch):
    of_the_host = logging.NullHandler()
    monkeypatch.setattr(logging, "lastResort", of_the_host)

    setup(MANAGER, "ecs")

    assert logging.lastResort is of_the_host


def test_what_a_manager_logs_waits_for_no_handler_of_the_hosts(monkeypatch, top):
    gate, messages = threading.Event(), []

    class Slow(logging.Handler):
        def emit(self, record: logging.LogRecord) -> None:
            gate.wait(20.0)
            messages.append((record.getMessage(), record.threadName))

    handler = Slow()
    top.addHandler(handler)
    top.setLevel(logging.INFO)
    setup(MANAGER, "host")

    bus.emit(TasksReleased, "mail", 5, "stopped")
    bus.close(0.0)
    was_stuck = logs.is_stuck()
    gate.set()
    bus.close(20.0)
    top.removeHandler(handler)

    assert was_stuck
    assert not logs.is_stuck()
    assert messages == [("Released 5 unstarted tasks (stopped)", "MainThread")]


def test_a_worker_counts_what_it_dropped_for_its_manager_to_report(tmp_path):
    dropped.taken()
    dropped.count(dropped.OUTPUT_STALLED, 7)
    setup(WORKER, "ecs", tmp_path / "a.log")
    taken = bus.take()
    bus.absorb(0, taken)  # not by a manager: nothing happens

    setup(MANAGER, "ecs", tmp_path / "a.log", "mail")
    bus.absorb(0, taken)
    bus.close(20.0)

    line = json.loads((tmp_path / "a.log").read_text())
    assert line["message"] == "Dropped 7 log lines: output stalled"
    assert line["partisan.queue.name"] == "mail"
    assert line["event.action"] == "telemetry.dropped"


def test_what_nobody_reads_at_the_end_is_dropped(tmp_path, last_resort):
    dropped.taken()
    path = tmp_path / "fifo"
    os.mkfifo(path)
    reading = os.open(path, os.O_RDONLY | os.O_NONBLOCK)
    setup(WORKER, "ecs", path)
    for _ in range(30):
        bus.emit(ClaimFailed, "default", samples.ERROR._replace(stack_trace="x" * 9000))

    bus.close(0.0)

    assert dropped.taken()["log_output_stalled"] > 5
    os.close(reading)
