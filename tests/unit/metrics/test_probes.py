"""When a manager is alive and when it is ready."""

from types import SimpleNamespace
from typing import Any

from django_partisan.metrics.probes import Readiness, stall
from django_partisan.telemetry import events

from .conftest import QUEUE, snapshot


def ready(slot: int) -> events.WorkerReady:
    return events.WorkerReady(QUEUE, slot, 1, 42, ())


def exited(slot: int) -> events.WorkerExited:
    return events.WorkerExited(QUEUE, slot, 1, 42, 0, None, "recycled", None, None)


def starting(slot: int) -> events.WorkerSeen:
    return events.WorkerSeen(slot, 2, 0, "starting", None, 0.0, 0.0)


def test_a_loop_that_turned_thirty_seconds_ago_is_alive(state: SimpleNamespace) -> None:
    assert stall(snapshot(state), 1_030.0) is None


def test_a_loop_that_did_not_turn_since_is_named(state: SimpleNamespace) -> None:
    assert stall(snapshot(state), 1_031.0) == "the manager's loop did not turn for 31 s"


def test_ready_is_with_a_database_and_all_workers(state: SimpleNamespace) -> None:
    assert Readiness().faults(snapshot(state)) == []


def test_each_fault_is_named(state: SimpleNamespace) -> None:
    state.database_reachable = False
    state.draining = True
    state.workers = (*state.workers[:1], starting(1))

    assert Readiness().faults(snapshot(state)) == [
        "the database is not reachable",
        "the manager drains",
        "1 of 2 workers did not say they are ready",
    ]


def test_a_worker_that_does_not_exist_yet_is_not_ready(state: SimpleNamespace) -> None:
    state.workers = ()

    assert Readiness().faults(snapshot(state)) == ["2 of 2 workers did not say they are ready"]


def test_a_recycled_worker_s_successor_has_half_a_minute(state: SimpleNamespace) -> None:
    now = [0.0]
    readiness = Readiness(lambda: now[0])
    readiness.note(ready(1))
    state.workers = (*state.workers[:1], starting(1))
    at_once = readiness.faults(snapshot(state))
    readiness.note(exited(1))
    now[0] = 29.0
    lately = readiness.faults(snapshot(state))
    now[0] = 31.0
    late = readiness.faults(snapshot(state))

    assert (at_once, lately) == ([], [])
    assert late == ["1 of 2 workers did not say they are ready"]


def test_a_worker_that_crashes_before_it_is_ready_gets_no_respite(state: SimpleNamespace) -> None:
    readiness = Readiness()
    readiness.note(exited(1))
    state.workers = (*state.workers[:1], starting(1))

    assert len(readiness.faults(snapshot(state))) == 1


def test_crashing_again_and_again_does_not_renew_the_respite(state: SimpleNamespace) -> None:
    now = [0.0]
    readiness = Readiness(lambda: now[0])
    readiness.note(ready(1))
    state.workers = (*state.workers[:1], starting(1))
    for now[0] in (0.0, 20.0, 40.0):
        readiness.note(exited(1))

    assert len(readiness.faults(snapshot(state))) == 1


def test_the_manager_s_recorder_hears_who_is_ready(state: SimpleNamespace, monkeypatch: Any) -> None:
    from django_partisan.metrics.catalogue import METRICS
    from django_partisan.metrics.manager import ManagerRecorder
    from django_partisan.metrics.totals import Totals
    from django_partisan.telemetry import bus

    readiness = Readiness()
    bus.subscribe(ManagerRecorder(QUEUE, Totals(QUEUE, METRICS, 0, 0), readiness))
    bus.emit(events.WorkerReady, QUEUE, 1, 1, 42, ())
    state.workers = (*state.workers[:1], starting(1))

    assert readiness.faults(snapshot(state)) == []
