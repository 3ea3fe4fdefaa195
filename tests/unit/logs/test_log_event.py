"""A log event is one event class and one function; nothing else needs to be changed."""

import logging
from collections.abc import Iterator
from typing import NamedTuple

import pytest

from django_partisan.logs import LOG_EVENTS
from django_partisan.logs.fields import DURATION, QUEUE, nanoseconds
from django_partisan.logs.log_event import WORKER, Line, log_event
from django_partisan.telemetry import bus
from tests.unit.logs.conftest import Lines
from tools.document_tables import tables


class TeaBrewed(NamedTuple):
    queue: str
    seconds: float


@pytest.fixture(autouse=True)
def declared() -> Iterator[None]:
    # A contributor's event is part of the union ``Event`` and needs no "type: ignore".
    @log_event(
        TeaBrewed,  # type: ignore[type-var]
        "tea.brewed",
        logging.WARNING,
        "Brewed tea in %.0f s",
        by=(WORKER,),
        fields=(QUEUE, DURATION),
        when="the tea is ready",
    )
    def tea_brewed(event: TeaBrewed) -> Line:
        return (event.seconds,), {
            "partisan.queue.name": event.queue,
            "event.duration": nanoseconds(event.seconds),
        }

    yield
    del LOG_EVENTS[TeaBrewed]


def test_a_declared_event_is_logged(lines: Lines):
    bus.emit(TeaBrewed, "kitchen", 180.0)  # type: ignore[arg-type]

    (line,) = lines()
    assert (line["event.action"], line["log.level"]) == ("tea.brewed", "warning")
    assert line["message"] == "Brewed tea in 180 s"
    assert (line["partisan.queue.name"], line["event.duration"]) == ("kitchen", 180_000_000_000)


def test_a_declared_event_stands_in_the_table():
    assert tables.log_events().endswith(
        "| `tea.brewed` | warning | worker "
        "| `partisan.queue.name` keyword, `event.duration` long | the tea is ready |\n"
    )
