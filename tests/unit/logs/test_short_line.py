"""A short line is byte for byte the loggers' line, and is used only where nothing sees a difference."""

import functools
import json
import logging
import os
import re
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any
from unittest import mock

import pytest
import structlog
import wrapt
from _pytest.logging import LogCaptureHandler
from django.test import override_settings
from opentelemetry import trace

from django_partisan.logs import context, setting_up, short_line
from django_partisan.logs.ecs import NestedFormatter
from django_partisan.logs.log_event import WORKER
from django_partisan.logs.subscriber import LOGGER
from django_partisan.logs.writing import LineHandler
from django_partisan.telemetry import bus, swallowed
from django_partisan.telemetry.events.runs import TaskCompleted
from django_partisan.telemetry.events.values import Run
from django_partisan.telemetry.trace_context import process_span_id

from .conftest import Lines
from .samples import BARE_RUN, RUN, TRACEPARENT

LOGGER_NAME = f"{LOGGER}.{WORKER}"

RUNS: dict[str, Run] = {
    "bare": BARE_RUN,
    "traced": BARE_RUN._replace(headers={"traceparent": TRACEPARENT}),
    "malformed context": BARE_RUN._replace(headers={"traceparent": "x", "ctx.request_id": "1"}),
    "odd names": BARE_RUN._replace(processor='Über"setz\\ung\n😀', queue="mail\x01"),
    "half a character": BARE_RUN._replace(processor="half \ud83d"),
    "numbers": BARE_RUN._replace(id=2**63 - 1, priority=-7, attempt=99, retries=3, postpones=8),
    "clock that went back": BARE_RUN._replace(wait_seconds=-1.0),
    "arguments": RUN,
}


@pytest.fixture(autouse=True)
def same_every_time(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(time, "time", lambda: 1_795_700_000.1239)
    monkeypatch.setattr(time, "time_ns", lambda: 1_795_700_000_123_900_000)  # for records from 3.13 on
    monkeypatch.setattr(os, "urandom", bytes)


def send_pytest_away() -> None:
    """Remove the handlers with which pytest captures records during a test."""
    logger = logging.getLogger(LOGGER)
    logger.handlers = [handler for handler in logger.handlers if not isinstance(handler, LogCaptureHandler)]


def begin_event_ids_anew() -> None:
    """Restart event ids at the first, as in a forked process."""
    with mock.patch.object(os, "getpid", return_value=-1):
        context.event_id()


def short() -> short_line.ShortLine | None:
    send_pytest_away()
    return short_line.short_line_of(logging.getLogger(LOGGER_NAME))


def written(path: Path, run: Run, is_short: bool, seconds: float = 0.5) -> bytes:
    """Return what one completed run appends to a file; a line made twice would have the second id."""
    before = len(path.read_bytes()) if path.exists() else 0
    begin_event_ids_anew()
    send_pytest_away()
    bus.refresh()
    assert bus.wanted(TaskCompleted)
    assert setting_up._subscriber._short_line is not None
    if not is_short:
        setting_up._subscriber._short_line = None
    bus.emit(TaskCompleted, run, seconds)
    return re.sub(rb"(0{16})-\d", rb"\1-1", path.read_bytes()[before:])


def bound(run: Callable[[], Any]) -> Any:
    with structlog.contextvars.bound_contextvars(request_id="7", password="hunter2"):
        return run()


def spanned(run: Callable[[], Any]) -> Any:
    token = process_span_id.set("00f067aa0ba902b7")
    try:
        with trace.use_span(trace.NonRecordingSpan(trace.SpanContext(11, 12, is_remote=False))):
            return run()
    finally:
        process_span_id.reset(token)


class TestSameBytes:
    @pytest.mark.parametrize(
        "surrounded", [lambda run: run(), bound, spanned], ids=["alone", "bound", "spanned"]
    )
    @pytest.mark.parametrize("run", RUNS.values(), ids=RUNS)
    def test_as_the_loggers_write(self, log_file: Path, run: Run, surrounded: Callable[..., bytes]):
        # Twice, because the parts of a kind of run are built the first time and reused the second time.
        lines = [
            surrounded(functools.partial(written, log_file, run, is_short))
            for is_short in (True, True, False)
        ]

        assert lines[0] == lines[1] == lines[2]
        assert lines[0].endswith(b"\n")
        assert json.loads(lines[0])["event.action"] == "task.completed"

    @pytest.mark.parametrize("seconds", [0.0, 1e-9, 0.0004999, 12.3456789, 1e6, -0.5])
    def test_of_any_duration(self, log_file: Path, seconds: float):
        assert written(log_file, BARE_RUN, True, seconds) == written(log_file, BARE_RUN, False, seconds)

    def test_line_that_is_too_long_is_cut_as_ever(self, log_file: Path):
        run = BARE_RUN._replace(processor="P" * 5_000)

        lines = [written(log_file, run, is_short) for is_short in (True, False)]

        assert lines[0] == lines[1]
        assert len(lines[0]) <= 4_000

    def test_parts_are_of_one_kind_of_run_each(self, log_file: Path, lines: Lines):
        for slot in (1, 2, 1):
            written(log_file, BARE_RUN._replace(slot=slot), True)

        assert [line["partisan.worker.slot"] for line in lines()] == [1, 2, 1]


WRAPPERS: dict[str, Callable[[Any], Any]] = {
    "function": lambda call: lambda *args, **options: call(*args, **options),
    "partial": functools.partialmethod,
    "agent's wrapper": lambda call: wrapt.FunctionWrapper(call, lambda call, _, args, kw: call(*args, **kw)),
}
"""How error trackers and agents replace a call; the agents' wrapper has all attributes of the original."""

TOP, LOGGER_OF_WORKER = logging.getLogger(LOGGER), logging.getLogger(LOGGER_NAME)
CHANGES: dict[str, Callable[[pytest.MonkeyPatch], None]] = {
    "a handler of the host's": lambda patch: patch.setattr(TOP, "handlers", [logging.StreamHandler()]),
    "another handler": lambda patch: patch.setattr(TOP, "handlers", [*TOP.handlers, logging.NullHandler()]),
    "another handler below": lambda patch: patch.setattr(
        LOGGER_OF_WORKER, "handlers", [logging.NullHandler()]
    ),
    "a filter of the handler": lambda patch: patch.setattr(TOP.handlers[0], "filters", [bool]),
    "a filter of the logger": lambda patch: patch.setattr(LOGGER_OF_WORKER, "filters", [bool]),
    "a level of the handler": lambda patch: patch.setattr(TOP.handlers[0], "level", logging.WARNING),
    "a method of this logger": lambda patch: patch.setattr(LOGGER_OF_WORKER, "handle", print),
    "another format": lambda patch: patch.setattr(TOP.handlers[0], "formatter", NestedFormatter()),
    "records of another class": lambda patch: patch.setattr(
        logging, "_logRecordFactory", lambda *args, **options: logging.LogRecord(*args, **options)
    ),
    **{
        f"{cls.__name__}.{call}: {name}": lambda patch, cls=cls, call=call, wrap=wrap: patch.setattr(  # type: ignore[misc]
            cls, call, wrap(getattr(cls, call))
        )
        for name, wrap in WRAPPERS.items()
        for cls, calls in {
            logging.Logger: ("makeRecord", "handle", "filter", "callHandlers"),
            LineHandler: ("handle", "filter"),
        }.items()
        for call in calls
    },
}


class TestOnlyWhereNothingSeesTheDifference:
    def test_short_with_a_handler_of_ours_alone(self, log_file: Path):
        assert short() is not None

    @pytest.mark.parametrize("change", CHANGES.values(), ids=CHANGES)
    def test_not_with(
        self,
        log_file: Path,
        monkeypatch: pytest.MonkeyPatch,
        change: Callable[[pytest.MonkeyPatch], None],
    ):
        assert short() is not None

        change(monkeypatch)

        assert short() is None

    def test_not_with_the_hosts_handlers(self):
        setting_up.setup(WORKER, "host")
        bus.refresh()
        bus.wanted(TaskCompleted)

        assert setting_up._subscriber._short_line is None

    def test_not_where_arguments_are_logged(self, log_file: Path):
        with override_settings(PARTISAN_OBSERVABILITY={"LOG_TASK_ARGS": True}):
            assert short() is None

    def test_nothing_is_written_below_the_level(self, log_file: Path, lines: Lines):
        assert written(log_file, BARE_RUN, True) != b""
        logging.getLogger(LOGGER).setLevel(logging.WARNING)
        bus.emit(TaskCompleted, BARE_RUN, 0.5)  # without a refresh

        assert len(lines()) == 1


def test_line_that_cannot_be_written_is_counted(
    log_file: Path, monkeypatch: pytest.MonkeyPatch, last_resort: list[str]
):
    log_file.touch()
    real_write = os.write
    monkeypatch.setattr(os, "write", lambda descriptor, data: real_write(-1, data))

    assert written(log_file, BARE_RUN, True) == b""
    assert swallowed.counts["logs"] == 1
    assert last_resort[0].startswith("A log line could not be written")
