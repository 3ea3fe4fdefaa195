"""What the manager adds up, and what happens when labels have too many values."""

from typing import Any

import pytest

from django_partisan.metrics.aggregator import Aggregator, Histogram
from django_partisan.metrics.catalogue import METRICS, TASK_QUEUE_WAIT
from django_partisan.metrics.metric import Key

from .conftest import MAIL, QUEUE

WAIT = "partisan_task_queue_wait_seconds"
FAILED = "partisan_tasks_failed_total"
ERRORS = "partisan_task_errors_total"
OVERFLOW = "partisan_telemetry_label_overflow_total"


def aggregator(max_series: int = 100, max_error_types: int = 20) -> Aggregator:
    made = Aggregator(QUEUE, METRICS, max_series, max_error_types)
    for metric in METRICS.values():
        made.start_at_zero(metric.initial_series(QUEUE, ["Mail"]))
    return made


def counted(made: Aggregator) -> dict[Key, Any]:
    return made.copy()


def test_reports_are_summed_and_a_start_at_zero_forgets_nothing() -> None:
    made = aggregator()

    for _ in range(3):
        made.add(({(FAILED, (*MAIL, "error")): 2}, {(WAIT, MAIL): [{0: 1, 15: 2}, 0.5, None]}))
    made.start_at_zero([(FAILED, (*MAIL, "error")), (WAIT, MAIL)])

    totals = made.copy()
    assert totals[FAILED, (*MAIL, "error")] == 6
    assert totals[WAIT, MAIL].counts == [3, *[0] * 14, 6]
    assert totals[WAIT, MAIL].sum == 1.5


def test_a_copy_does_not_change_when_the_totals_do() -> None:
    made = aggregator()
    totals = made.copy()

    made.add(({(FAILED, (*MAIL, "error")): 2}, {(WAIT, MAIL): [{0: 1}, 0.5, ("t", "s", 0.0, 1.0)]}))

    assert totals[FAILED, (*MAIL, "error")] == 0
    assert totals[WAIT, MAIL] == Histogram(TASK_QUEUE_WAIT.buckets, [0] * 16, 0.0, {})


def test_an_exemplar_stays_with_the_bucket_of_its_value() -> None:
    made = aggregator()
    old, new, beyond = ("t1", "s1", 0.02, 1.0), ("t2", "s2", 0.03, 2.0), ("t3", "s3", 1e6, 3.0)

    for exemplar in (old, new, beyond):
        made.add(({}, {(WAIT, MAIL): [{1: 1}, 0.5, exemplar]}))

    found = made.copy()[WAIT, MAIL].exemplars
    assert {index: (*one.labels.values(), one.value, one.timestamp) for index, one in found.items()} == {
        1: new,
        15: beyond,
    }


def test_a_thousand_classes_of_errors_are_twenty_and_other() -> None:
    made = aggregator()

    for number in range(1_000):
        made.add(({(ERRORS, (*MAIL, f"E{number}", "failed")): 1}, {}))
        made.add(({(ERRORS, (*MAIL, f"E{number}", "retried")): 1}, {}))

    errors = {key[1]: value for key, value in counted(made).items() if key[0] == ERRORS}
    assert len({labels[2] for labels in errors}) == 21
    assert sum(errors.values()) == 2_000
    assert errors[(*MAIL, "_other", "failed")] == 980
    assert counted(made)[OVERFLOW, ("error_type",)] == 2 * 980


def test_error_types_are_limited_for_each_processor_alone() -> None:
    made = aggregator(max_error_types=1)

    for processor in ("Mail", "Report"):
        for kind in ("A", "B", "_other"):
            made.add(({(ERRORS, (QUEUE, processor, kind, "failed")): 1}, {}))

    kinds = {key[1][1:3] for key in counted(made) if key[0] == ERRORS}
    assert kinds == {("Mail", "A"), ("Mail", "_other"), ("Report", "A"), ("Report", "_other")}


def test_new_series_beyond_the_limit_are_added_to_other_and_initial_ones_are_not() -> None:
    made = aggregator(max_series=2)

    for processor in ("P0", "P1", "P2", "P3", "P4", "Mail"):
        made.add(({(FAILED, (QUEUE, processor, "error")): 1}, {}))
        made.add(({}, {(WAIT, (QUEUE, processor)): [{0: 1}, 0.5, None]}))

    totals = made.copy()
    assert totals[FAILED, (QUEUE, "P0", "error")] == totals[FAILED, (*MAIL, "error")] == 1
    assert totals[FAILED, (QUEUE, "_other", "error")] == 4
    assert totals[WAIT, (QUEUE, "_other")].sum == 2.0
    assert totals[OVERFLOW, ("processor",)] == 8


@pytest.mark.parametrize("key", [("partisan_user_unknown_total", MAIL), (FAILED, ("one label",))])
def test_an_unknown_metric_or_a_wrong_number_of_labels_is_dropped_and_counted(key: Key) -> None:
    made = aggregator()

    unknown = made.add(({key: 5}, {key: [{0: 1}, 0.5, None]}))

    assert unknown == 2
    assert key not in counted(made)
    assert counted(made)["partisan_telemetry_dropped_total", (QUEUE, "unknown_metric")] == 2
