import logging
from typing import Any

import pytest

from django_partisan.logs import LOG_EVENTS
from django_partisan.logs.console import ConsoleFormatter
from django_partisan.logs.ecs import RECORD_FIELDS
from django_partisan.telemetry.events.queues import ClaimFailed
from django_partisan.telemetry.events.runs import TaskCompleted
from tests.unit.logs import samples


def shown(event: object, fields: Any = None, max_bytes: int = 4000, colors: bool = False) -> str:
    log_event = LOG_EVENTS[type(event)]
    arguments, values = log_event.line(event)
    record = logging.makeLogRecord(
        {"name": "django_partisan.worker", "msg": log_event.message, "args": arguments}
    )
    record.levelno = log_event.level_of(event)
    record.levelname = logging.getLevelName(record.levelno)
    vars(record)[RECORD_FIELDS] = {**values, "event.action": log_event.action, **(fields or {})}
    return ConsoleFormatter(colors, max_bytes).format(record)


def test_an_event_is_one_readable_line():
    line = shown(TaskCompleted(samples.BARE_RUN, 0.5), {"labels.request_id": "r1"})

    _date, _time, said = line.split(" ", 2)
    assert " ".join(said.split()) == (
        "[info ] Task 12 (SendMail) completed in 0.500 s [worker] "
        "queue=default attempt=2 slot=3 request_id=r1"
    )


@pytest.mark.parametrize("event", samples.FULL, ids=lambda event: type(event).__name__)
def test_only_an_error_has_more_lines(event):
    has_trace = LOG_EVENTS[type(event)].level_of(event) >= logging.ERROR and hasattr(event, "error")

    assert ("\n" in shown(event)) is has_trace


def test_an_error_is_followed_by_its_stack_trace():
    assert shown(ClaimFailed("default", samples.ERROR)).endswith("\nTraceback ...\napp.errors.Refused: no")


def test_there_are_colours_on_a_terminal_only():
    event = TaskCompleted(samples.RUN, 0.5)

    assert "\x1b[" in shown(event, colors=True)
    assert "\x1b[" not in shown(event, colors=False)


def test_control_characters_do_not_reach_the_terminal():
    error = samples.ERROR._replace(message="\x1b[2Jgone\x07", stack_trace="\x1b]0;title\x9b\x07\nend")
    text = shown(ClaimFailed("default", error), {"labels.request_id": "\x1b[2J\nnext line"})

    assert not set(text) & {"\x1b", "\x07", "\x9b"}
    assert "title" in text
    assert "\nnext line" not in text


@pytest.mark.parametrize("character", ["x", "ü"])
def test_a_long_trace_is_cut_in_the_middle(character):
    error = samples.ERROR._replace(stack_trace="beginning" + character * 9000 + "end")
    text = shown(ClaimFailed("default", error)) + "\n"

    assert 3900 < len(text.encode()) <= 4000
    assert "\nbeginning" in text
    assert text.endswith("end\n")


def test_a_line_without_room_for_its_trace_goes_without():
    text = shown(ClaimFailed("default", samples.ERROR), {"labels.long": "x" * 3000}, 2048)

    assert "\n" not in text
    assert len(text.encode()) < 2048
