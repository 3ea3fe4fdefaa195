"""A manager learns the options of a limited number of processors that only its workers have."""

from typing import Any

import pytest

from django_partisan import registry
from django_partisan.engine.late_definitions import PlainDefinition
from django_partisan.engine.manager.known_processors import KnownProcessors
from django_partisan.engine.manager.late_processors import LateProcessors
from django_partisan.telemetry.events.managers import ProcessorsIgnored
from tests.support.events import RecordedEvents

pytestmark = pytest.mark.usefixtures("own_registry")


def described(name: str, timeout: float | None = None) -> tuple[Any, ...]:
    return tuple(PlainDefinition(name, "mail", 10, None, None, None, timeout, None))


def test_beyond_the_limit_further_names_are_ignored_with_one_event(recorded_events: RecordedEvents):
    processors = KnownProcessors([])
    late = LateProcessors("mail", processors, limit=2)

    late.register([described("one"), described("two"), described("three")])
    late.register([described("four")])

    assert set(registry.definitions) == processors.known == {"one", "two"}
    assert recorded_events.of(ProcessorsIgnored) == [ProcessorsIgnored("mail", 2)]


def test_at_the_limit_newer_options_of_a_known_name_still_count(recorded_events: RecordedEvents):
    late = LateProcessors("mail", KnownProcessors([]), limit=1)

    late.register([described("one", 7.5)])
    late.register([described("one", 2.5)])

    assert registry.definitions["one"].timeout == 2.5
    assert recorded_events.of(ProcessorsIgnored) == []
