"""Measures that users define."""

from typing import Any

import pytest

from django_partisan import registry
from django_partisan.definitions import TaskDefinition
from django_partisan.metrics import custom
from django_partisan.metrics.custom import CounterMeasure, HistogramMeasure, Measure, Measures
from django_partisan.metrics.deltas import fold
from django_partisan.telemetry.events.runs import MetricRecorded
from tests.support.events import RecordedEvents

from .conftest import QUEUE, TASK, processor


def definition(name: str, *measures: Measure) -> TaskDefinition:
    return TaskDefinition.of_processor(processor(name, measures=measures))


@pytest.fixture
def measures() -> Measures:
    declared = (
        CounterMeasure("mails", "Mails sent.", ("kind", "to")),
        HistogramMeasure("size_bytes", "Size."),
    )
    return Measures("Mail", QUEUE, declared)


def test_a_counter_is_emitted_under_its_exported_name_with_labels_in_order(
    measures: Measures, recorded: RecordedEvents
) -> None:
    measures.inc("mails", to=7, kind="welcome")
    measures.inc("mails", 2.5, kind="bye", to="\ud800")

    assert recorded.events == [
        MetricRecorded(QUEUE, "Mail", "partisan_user_mails_total", ("welcome", "7"), 1),
        MetricRecorded(QUEUE, "Mail", "partisan_user_mails_total", ("bye", "?"), 2.5),
    ]


def test_a_histogram_is_emitted_with_its_value(measures: Measures, recorded: RecordedEvents) -> None:
    measures.observe("size_bytes", -3)

    assert recorded.events == [MetricRecorded(QUEUE, "Mail", "partisan_user_size_bytes", (), -3)]


def test_the_name_and_the_queue_are_those_of_the_task(recorded: RecordedEvents) -> None:
    task = TASK._replace(queue="moved", processor="Renamed")

    custom.measures_for(task, registry.definitions["Mail"]).inc("mails_total", kind="welcome")

    assert recorded.events[0][:2] == ("moved", "Renamed")


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda m: m.inc("nails"), r"declares no measure 'nails'; known: 'mails', 'size_bytes'"),
        (lambda m: m.inc("size_bytes"), r"is a HistogramMeasure, which has no inc\(\)"),
        (lambda m: m.observe("mails", 1, kind="a", to="b"), r"is a CounterMeasure, which has no observe\(\)"),
        (lambda m: m.inc("mails", kind="a"), r"got the labels \['kind'\]; expected \['kind', 'to'\]"),
        (lambda m: m.inc("mails", -1, kind="a", to="b"), r"got -1; expected a finite number, at least 0"),
        (lambda m: m.observe("size_bytes", float("nan")), r"got nan; expected a finite number\."),
        (lambda m: m.observe("size_bytes", 10**400), r"got 10+; expected a finite number\."),
        (lambda m: m.observe("size_bytes", -(10**400)), r"got -10+; expected a finite number\."),
        (lambda m: m.observe("size_bytes", "3"), r"got '3'"),
        (lambda m: m.observe("size_bytes", True), r"got True"),
    ],
)
def test_a_wrong_call_names_what_is_known(
    measures: Measures, recorded: RecordedEvents, call: Any, message: str
) -> None:
    with pytest.raises(ValueError, match=message):
        call(measures)

    assert recorded.events == []


def test_a_class_without_measures_says_so() -> None:
    with pytest.raises(ValueError, match="known: none"):
        custom.measures_for(TASK, definition("Bare")).inc("mails")


@pytest.mark.parametrize(
    "declare",
    [
        lambda: CounterMeasure("Mails", "."),
        lambda: CounterMeasure("mails sent", "."),
        lambda: CounterMeasure("mails", ".", ("queue",)),
        lambda: CounterMeasure("mails", ".", ("le",)),
        lambda: CounterMeasure("mails", ".", ("a-b",)),
        lambda: CounterMeasure("mails", ".", ("a", "a")),
        lambda: HistogramMeasure("mails", ".", buckets=()),
        lambda: HistogramMeasure("mails", ".", buckets=(2, 1)),
        lambda: HistogramMeasure("mails", ".", buckets=(1, float("inf"))),
        lambda: HistogramMeasure("mails", ".", buckets=(1, 10**400)),
    ],
)
def test_what_prometheus_does_not_accept_is_refused_at_once(declare: Any) -> None:
    with pytest.raises(ValueError, match=r"CounterMeasure|HistogramMeasure"):
        declare()


def test_an_exported_counter_ends_in_total_once() -> None:
    names = {CounterMeasure(name, ".").metric().name for name in ("mails", "mails_total")}

    assert names == {"partisan_user_mails_total"}


def test_a_metric_of_a_user_folds_the_user_s_labels_or_else_the_processor() -> None:
    labelled = CounterMeasure("mails", ".", ("kind",)).metric()
    bare = CounterMeasure("mails", ".").metric()

    assert fold(labelled, ("q", "Mail", "x"), {}) == ("q", "Mail", "_other")
    assert fold(bare, ("q", "Mail"), {}) == ("q", "_other")


def test_two_definitions_may_share_a_measure_that_is_the_same() -> None:
    measure = CounterMeasure("mails", "Mails sent.")
    definitions = [definition("A", measure), definition("B", measure)]

    assert list(custom.problems(definitions)) == []
    assert list(custom.declared(definitions)) == ["partisan_user_mails_total"]


def test_two_definitions_that_differ_are_a_problem_and_the_first_counts() -> None:
    definitions = [
        definition("A", CounterMeasure("mails", "Mails sent.")),
        definition("B", CounterMeasure("mails", "Mails sent.", ("kind",))),
    ]

    (problem,) = custom.problems(definitions)
    assert str(problem).startswith("B.MEASURES['mails'] is CounterMeasure(name='mails', ")
    assert str(problem).endswith("; expected the type, help, labels and buckets that A declares.")
    assert custom.declared(definitions)["partisan_user_mails_total"].labels == ("queue", "processor")


def test_only_a_measure_without_labels_has_series_before_it_is_used() -> None:
    bare = CounterMeasure("mails", ".").metric()
    labelled = CounterMeasure("mails", ".", ("kind",)).metric()

    assert list(bare.initial_series("q", ["A"])) == [("partisan_user_mails_total", ("q", "A"))]
    assert list(labelled.initial_series("q", ["A"])) == []
