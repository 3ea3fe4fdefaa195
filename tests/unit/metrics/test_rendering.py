"""From families to text."""

import gzip
from typing import Any

import pytest
from prometheus_client import CollectorRegistry
from prometheus_client.metrics_core import GaugeMetricFamily

from django_partisan.metrics import families
from django_partisan.metrics.catalogue import BUFFER_TASKS, TASK_DURATION
from django_partisan.metrics.rendering import render


class Collector:
    def __init__(self, *values: Any) -> None:
        self.values = values

    def describe(self) -> list[Any]:
        return self.collect()

    def collect(self) -> list[Any]:
        return [GaugeMetricFamily(f"gauge{n}", "Help.", value=v) for n, v in enumerate(self.values)]


def page(*values: Any, accept: str = "", encoding: str = "", names: tuple[str, ...] = ()) -> Any:
    registry = CollectorRegistry()
    registry.register(Collector(*values))
    errors: list[int] = []
    made = render(registry, accept, encoding, list(names), lambda: errors.append(1))
    return made, len(errors)


def test_the_text_is_that_of_prometheus() -> None:
    made, errors = page(1, 2)

    assert made.content_type.startswith("text/plain; version=0.0.4")
    assert made.body.decode().splitlines()[2] == "gauge0 1.0"
    assert errors == 0


def test_openmetrics_ends_once() -> None:
    made, _ = page(1, 2, accept="application/openmetrics-text; version=1.0.0")

    assert made.content_type.startswith("application/openmetrics-text; version=1.0.0")
    assert made.body.count(b"# EOF\n") == 1
    assert made.body.endswith(b"# EOF\n")


def test_a_version_that_is_no_number_is_answered_all_the_same() -> None:
    made, _ = page(1, accept="application/openmetrics-text; version=x.y")

    assert b"gauge0 1.0\n" in made.body


def test_a_family_that_cannot_be_written_is_its_head_alone() -> None:
    made, errors = page("no number", 2)

    assert made.body.decode().splitlines() == [
        "# HELP gauge0 Help.",
        "# TYPE gauge0 gauge",
        "# HELP gauge1 Help.",
        "# TYPE gauge1 gauge",
        "gauge1 2.0",
    ]
    assert errors == 1


def test_names_restrict_the_families() -> None:
    made, _ = page(1, 2, names=("gauge1",))

    assert b"gauge1 2.0" in made.body
    assert b"gauge0" not in made.body


@pytest.mark.parametrize("encoding", ["gzip", "br, gzip;q=0.5", "*", "GZIP"])
def test_gzip_is_used_where_it_is_taken(encoding: str) -> None:
    made, _ = page(1, encoding=encoding)

    assert made.encoding == "gzip"
    assert b"gauge0 1.0" in gzip.decompress(made.body)


@pytest.mark.parametrize("encoding", ["", "br", "gzip;q=0", "gzip; q=0.0"])
def test_gzip_is_not_used_where_it_is_not_taken(encoding: str) -> None:
    made, _ = page(1, encoding=encoding)

    assert made.encoding is None


def test_a_value_of_the_wrong_kind_is_a_bug_that_is_named() -> None:
    with pytest.raises(TypeError, match="partisan_task_duration_seconds is a histogram"):
        families.filled([TASK_DURATION], [(TASK_DURATION, ("q", "p", "completed"), 1.0)])


def test_families_come_in_the_order_of_the_metrics() -> None:
    made = families.filled([TASK_DURATION, BUFFER_TASKS], [(BUFFER_TASKS, ("q",), 1)])

    assert [family.name for family in made] == ["partisan_task_duration_seconds", "partisan_buffer_tasks"]
