"""What the manager sums, and what happens when labels have too many values."""

import pytest

from django_partisan.metrics import catalogue, series
from django_partisan.metrics.catalogue import METRICS
from django_partisan.metrics.manager import ManagerRecorder
from django_partisan.metrics.metric import Key
from django_partisan.metrics.probes import Readiness
from django_partisan.metrics.recorder import Recorder
from django_partisan.metrics.totals import Histogram, Totals
from django_partisan.telemetry import bus, events

from .conftest import ERROR, QUEUE

MAIL = (QUEUE, "Mail")
WAIT = "partisan_task_queue_wait_seconds"
FAILED = "partisan_tasks_failed_total"
ERRORS = "partisan_task_errors_total"
OVERFLOW = "partisan_telemetry_label_overflow_total"


def totals(max_series: int = 100, max_error_types: int = 20) -> Totals:
    made = Totals(QUEUE, METRICS, max_series, max_error_types)
    made.start(series.of_queue(QUEUE))
    made.start(series.of_processors(QUEUE, ["Mail"]))
    return made


def counted(made: Totals) -> dict[Key, float]:
    return made.copy()[0]


def test_every_outcome_of_every_processor_is_there_at_zero() -> None:
    counters, histograms = totals().copy()

    assert counters[FAILED, (*MAIL, "worker_lost")] == 0
    assert counters["partisan_tasks_enqueued_total", (*MAIL, "true")] == 0
    assert sum(histograms["partisan_task_duration_seconds", (*MAIL, "retried")].counts) == 0
    assert counters["partisan_worker_exits_total", (QUEUE, "signal")] == 0


def test_starting_twice_forgets_nothing() -> None:
    made = totals()
    made.add(({(FAILED, (*MAIL, "error")): 2}, {(WAIT, MAIL): [{0: 1}, 0.5, None]}))
    made.start(series.of_processors(QUEUE, ["Mail"]))

    counters, histograms = made.copy()
    assert counters[FAILED, (*MAIL, "error")] == 2
    assert histograms[WAIT, MAIL].sum == 0.5


def test_additions_of_several_workers_are_summed() -> None:
    made = totals()
    for _ in range(3):
        made.add(({(FAILED, (*MAIL, "error")): 2}, {(WAIT, MAIL): [{0: 1, 15: 2}, 0.5, None]}))

    counters, histograms = made.copy()
    assert counters[FAILED, (*MAIL, "error")] == 6
    assert histograms[WAIT, MAIL].counts == (3, *[0] * 14, 6)
    assert histograms[WAIT, MAIL].sum == 1.5


def test_a_copy_does_not_change_when_the_totals_do() -> None:
    made = totals()
    counters, histograms = made.copy()
    made.add(({(FAILED, (*MAIL, "error")): 2}, {(WAIT, MAIL): [{0: 1}, 0.5, ("t", "s", 0.0, 1.0)]}))

    assert counters[FAILED, (*MAIL, "error")] == 0
    assert histograms[WAIT, MAIL] == Histogram(catalogue.TASK_QUEUE_WAIT.buckets, (0,) * 16, 0.0, {})


def test_an_exemplar_stays_with_the_bucket_of_its_value() -> None:
    made = totals()
    old, new, beyond = ("t1", "s1", 0.02, 1.0), ("t2", "s2", 0.03, 2.0), ("t3", "s3", 1e6, 3.0)
    for exemplar in (old, new, beyond):
        made.add(({}, {(WAIT, MAIL): [{1: 1}, 0.5, exemplar]}))

    assert made.copy()[1][WAIT, MAIL].exemplars == {1: new, 15: beyond}


def test_a_thousand_classes_of_errors_are_twenty_and_other() -> None:
    made = totals()
    for number in range(1_000):
        made.add(({(ERRORS, (*MAIL, f"E{number}", "failed")): 1}, {}))
        made.add(({(ERRORS, (*MAIL, f"E{number}", "retried")): 1}, {}))

    errors = {key[1]: value for key, value in counted(made).items() if key[0] == ERRORS}
    assert len({labels[2] for labels in errors}) == 21
    assert sum(errors.values()) == 2_000
    assert errors[(*MAIL, "_other", "failed")] == 980
    assert counted(made)[OVERFLOW, ("error_type",)] == 2 * 980


def test_error_types_are_capped_for_each_processor_alone() -> None:
    made = totals(max_error_types=1)
    for processor in ("Mail", "Report"):
        for kind in ("A", "B", "_other"):
            made.add(({(ERRORS, (QUEUE, processor, kind, "failed")): 1}, {}))

    kinds = {key[1][1:3] for key in counted(made) if key[0] == ERRORS}
    assert kinds == {("Mail", "A"), ("Mail", "_other"), ("Report", "A"), ("Report", "_other")}


def test_new_series_beyond_the_limit_are_added_to_other() -> None:
    made = totals(max_series=2)
    for number in range(5):
        made.add(({(FAILED, (QUEUE, f"P{number}", "error")): 1}, {}))
        made.add(({}, {(WAIT, (QUEUE, f"P{number}")): [{0: 1}, 0.5, None]}))

    counters, histograms = made.copy()
    assert counters[FAILED, (QUEUE, "P0", "error")] == 1
    assert counters[FAILED, (QUEUE, "_other", "error")] == 4
    assert histograms[WAIT, (QUEUE, "_other")].sum == 2.0
    assert counters[OVERFLOW, ("processor",)] == 8
    assert counters[FAILED, (*MAIL, "error")] == 0


def test_series_from_the_start_do_not_count_against_the_limit() -> None:
    made = totals(max_series=0)
    made.add(({(FAILED, (*MAIL, "error")): 1}, {}))

    assert counted(made)[FAILED, (*MAIL, "error")] == 1


@pytest.mark.parametrize("key", [("partisan_user_gone_total", MAIL), (FAILED, ("one label",))])
def test_what_nobody_knows_is_dropped_and_counted(key: Key) -> None:
    made = totals()
    made.add(({key: 5}, {}))
    made.add(({}, {key: [{0: 1}, 0.5, None]}))

    assert key not in counted(made)
    assert counted(made)["partisan_telemetry_dropped_total", (QUEUE, "unknown_metric")] == 2


def test_the_manager_sums_messages_and_its_own_facts(run: events.Run) -> None:
    worker = Recorder(QUEUE)
    manager = ManagerRecorder(QUEUE, totals(), Readiness())
    bus.subscribe(manager)
    worker.handle(events.TaskFailed(run, 0.1, "error", ERROR))
    bus.absorb(0, [("metrics", worker.take()), ("traces", 1)])
    bus.emit(events.TasksReleased, QUEUE, 3, "stopped")
    manager.flush()
    manager.flush()

    counters = counted(manager.totals)
    assert counters[FAILED, (*MAIL, "error")] == 1
    assert counters["partisan_tasks_released_total", (QUEUE, "stopped")] == 3
    assert counters["partisan_telemetry_messages_total", (QUEUE,)] == 1


def test_the_manager_sends_nothing_up() -> None:
    manager = ManagerRecorder(QUEUE, totals(), Readiness())
    bus.subscribe(manager)
    bus.emit(events.TasksReleased, QUEUE, 3, "stopped")

    assert bus.take() == []
