"""Every event of the table is caused by a test, and logged in a real run as the table says."""

import os
import resource
import signal
import socket
from datetime import timedelta
from typing import Any

from django.utils import timezone

from django_partisan.models import ManagerLease, Task
from tests.processes.managing import ManagerProcess
from tests.processes.observability.cutting import Wire
from tests.processes.observability.lines import BY_ACTION, checked
from tests.processes.observability.scraping import scrape
from tests.processes.observability.watching import Watching, enqueue, enqueue_each, wait_until_done
from tests.support.waiting import wait_until
from tools.otlp_sink import OtlpSink

OF_TASKS = {
    *("task.enqueued", "task.bulk_enqueued", "task.deduplicated", "task.enqueue_failed"),
    *("task.claimed", "task.started"),
    *("task.completed", "task.postponed", "task.retried", "task.failed", "task.rescued", "task.released"),
    *(
        "task.requeued",
        "task.interrupted",
        "task.cancelled",
        "task.bulk_cancelled",
        "task.cancel_requested",
        "task.held",
        "task.resumed",
        "task.transaction_left_open",
        "worker.started",
        "worker.ready",
        "worker.exited",
    ),
    *("manager.started", "manager.draining", "manager.stopped", "thread.stack"),
}
OF_OUTAGES = {"claim.failed", "task.settle_failed", "database.restored", "metrics.db_scrape_failed"}
OF_STARTS = {"worker.start_failed"}
OF_EXPIRY = {"task.expired"}  # in test_expiry
OF_KILLS = {"worker.killed"}  # in test_interrupted_runs
OF_PAUSES = {"queue.paused", "queue.resumed"}  # in test_pausing
OF_SCHEDULES = {  # in test_schedules, and the last in tests/db/core/test_scheduling
    *("schedule.ticked", "schedule.changed", "schedule.missed", "schedule.failed"),
    *("schedule.skipped", "schedule.paused", "schedule.resumed"),
    "schedules.operation_failed",  # in tests/db/engine/test_listed_schedules
}
OF_PRUNING = {"task.pruned", "task.prune_failed"}  # in test_pruning, and tests/unit/engine/test_pruner
OF_THE_ADMIN = {"task.changed"}  # in tests/db/core/test_changing
OF_THREADS = {"task.written_outside_atomic"}  # in tests/db/engine/test_worker
OF_LOST_CLAIMS = {"task.claim_lost", "manager.lease_lost"}  # the first in test_company
OF_DEPLOYS = {
    *("metrics.port_taken", "metrics.served"),  # in test_exporter
    "manager.code_replaced",  # in test_mixed_versions
}
OF_MANY_PROCESSORS = {"manager.processors_ignored"}  # in tests/unit/engine/test_late_processors
OF_TELEMETRY = {"worker.telemetry_flush_timeout", "telemetry.dropped", "metrics.server_failed"}
OF_ENDINGS = {"worker.exit_timeout"}  # in test_endings


def logged_by_action(manager: ManagerProcess) -> dict[str, list[dict[str, Any]]]:
    """Return a manager's lines by action, after checking each of them."""
    found: dict[str, list[dict[str, Any]]] = {}
    for line in checked(manager.out()):
        found.setdefault(line.get("event.action", ""), []).append(line)
    return found


def reasons(lines: list[dict[str, Any]]) -> set[str]:
    return {line["event.reason"] for line in lines}


def test_the_tests_below_provoke_every_event_of_the_table():
    of_managers = OF_OUTAGES | OF_LOST_CLAIMS | OF_TELEMETRY | OF_STARTS | OF_DEPLOYS | OF_ENDINGS | OF_KILLS
    of_operators = OF_PAUSES | OF_SCHEDULES | OF_PRUNING | OF_THE_ADMIN | OF_EXPIRY
    of_workers = OF_THREADS | OF_MANY_PROCESSORS

    assert BY_ACTION.keys() == OF_TASKS | of_workers | of_managers | of_operators


def test_events_of_tasks_workers_and_the_manager_are_logged(watching: Watching):
    enqueue("Pass")
    Task.objects.update(held="unregistered", ready=False)  # as by a manager without this processor
    at_once = {"LEASE_SECONDS": 3, "UNREGISTERED_GRACE_SECONDS": 0}
    manager = watching.ready(level="DEBUG", TASKS_PER_WORKER_INSTANCE=5, MAX_CRASHES=1, **at_once)
    enqueue_each(("Enqueue",), ("PostponeOnce",), ("RetryConstantly", 1), ("Mixed", "exhaust", 1))
    enqueue_each(
        ("Fail", "no"), ("ExitProcess",), ("Die", 9), ("Nobody",), ("LeaveTransactionOpen",), ("Pass",)
    )
    wait_until_done()
    enqueue("Requeue", "Fail")
    enqueue("Pass", times=9)  # no worker dies early now: one of the two runs five and is recycled
    wait_until_done()
    enqueue("Wait", "gate")
    watching.bench.wait_for("begun", processor="Wait")
    Task.objects.create(processor_class="Wait", execute_after=timezone.now() + timedelta(days=1))
    enqueue("Cancel", "Wait")
    wait_until_done()
    enqueue("Wait", "gate", times=6)
    watching.bench.wait_for("begun", 3, processor="Wait")
    manager.send_to_group(signal.SIGQUIT)
    manager.wait_for("thread.stack", 10)  # six from the manager, two from each worker
    manager.send(signal.SIGTERM)
    manager.wait_for("task.released")
    watching.bench.open("gate")
    assert manager.ended() == 0

    lines = logged_by_action(manager)
    assert lines.keys() >= OF_TASKS
    running = [line for line in lines["thread.stack"] if "run app/partisan_tasks.py:" in line["message"]]
    assert [line["partisan.thread.name"] for line in running] == ["MainThread"] * 2
    assert reasons(lines["task.failed"]) == {
        *("error", "retries_exhausted", "max_postpones", "unregistered", "worker_lost")
    }
    assert reasons(lines["task.rescued"]) == {"worker_lost"}
    [requeued] = lines["task.requeued"]
    assert requeued["message"] == "Requeued 1 failed task of Fail"
    assert requeued["partisan.requeue.count"] == 1
    for action, which in (
        ("bulk_cancelled", "Cancelled 1 unstarted"),
        ("cancel_requested", "Requested cancellation of 1 claimed"),
    ):
        [line] = lines[f"task.{action}"]
        assert line["message"] == f"{which} task of Wait: by hand"
        assert (line["partisan.cancel.count"], line["partisan.cancel.comment"]) == (1, "by hand")
    [cancelled] = lines["task.cancelled"]
    assert cancelled["message"].endswith("(Wait) cancelled while it ran: by hand")
    assert (cancelled["log.level"], cancelled["event.outcome"]) == ("info", "unknown")
    assert reasons(lines["task.released"]) == {"stopped"}
    assert reasons(lines["worker.exited"]) == {"recycled", "stopped", "signal", "error"}
    by_reason = {line["event.reason"]: line for line in lines["worker.exited"]}
    assert by_reason["error"]["process.exit_code"] == 3
    assert by_reason["error"]["partisan.processor"] == "ExitProcess"
    assert by_reason["signal"]["partisan.worker.signal"] == "SIGKILL"
    assert by_reason["signal"]["partisan.processor"] == "Die"
    levels = {reason: line["log.level"] for reason, line in by_reason.items()}
    assert levels == {"recycled": "info", "stopped": "info", "signal": "error", "error": "error"}
    assert {line["log.level"] for line in lines["task.retried"]} == {"warning"}
    assert [line["message"] for line in lines["task.enqueue_failed"]] != []


def test_a_run_is_one_canonical_line_and_a_failed_one_has_its_error(watching: Watching):
    manager = watching.ready()
    [done] = enqueue("Pass")
    [failed] = enqueue("Fail", "long " * 5000)
    wait_until_done()
    assert manager.stop() == 0, "a failed task does not change the exit code"

    lines = logged_by_action(manager)
    [completed], [failure] = lines["task.completed"], lines["task.failed"]
    assert (completed["partisan.task.id"], completed["event.outcome"]) == (str(done), "success")
    assert completed["partisan.task.attempt"] == 1
    assert 0 < completed["event.duration"] < 10**10
    assert 0 <= completed["partisan.task.wait_ns"] < 10**10
    row = Task.objects.get(pk=failed)
    assert failure["error.type"] == row.error_type == "ValueError"
    assert failure["error.message"].startswith("long long")
    assert len(failure["error.message"]) <= 1024 < len(row.error_message or "")
    assert failure["error.stack_trace"].startswith("Traceback")
    assert lines.keys().isdisjoint({"task.claimed", "task.started"})


def test_a_worker_that_cannot_be_started_is_logged_and_started_again(watching: Watching):
    manager = watching.ready()
    limits = resource.prlimit(manager.pid, resource.RLIMIT_NOFILE)
    resource.prlimit(manager.pid, resource.RLIMIT_NOFILE, (3, limits[1]))  # no descriptor for a new pipe
    os.kill(manager.workers()[0], signal.SIGKILL)
    manager.wait_for("worker.start_failed")
    before = len(manager.logged("worker.ready"))
    resource.prlimit(manager.pid, resource.RLIMIT_NOFILE, limits)
    wait_until(lambda: len(manager.logged("worker.ready")) > before)
    assert manager.stop() == 0

    failure = logged_by_action(manager)["worker.start_failed"][0]
    assert failure["log.level"] == "error"
    assert "Too many open files" in failure["error.message"]


def test_an_outage_of_the_database_is_told_once_and_so_is_its_end(watching: Watching):
    with Wire() as wire:
        manager = watching.ready(database=wire.database, SLEEP_DELAY_SECONDS=0.2)
        enqueue("Wait", "gate")
        watching.bench.wait_for("begun")
        scrape(manager)
        wire.cut()
        manager.wait_for("claim.failed")
        watching.bench.open("gate")
        manager.wait_for("task.settle_failed")
        for _ in range(3):
            scrape(manager)
        manager.wait_for("metrics.db_scrape_failed")
        wire.mend()
        manager.wait_for("database.restored")
        wait_until_done()
        assert manager.stop() == 0

    lines = logged_by_action(manager)
    for action in ("claim.failed", "task.settle_failed", "metrics.db_scrape_failed"):
        assert len(lines[action]) == 1, action
    restored = lines["database.restored"]
    assert 1 <= len(restored) <= 2  # for claims and for settling
    assert min(line["partisan.database.failures"] for line in restored) > 0
    assert min(line["event.duration"] for line in restored) > 0


def test_a_lost_lease_is_logged_and_the_manager_keeps_tasks_that_no_other_took_over(watching: Watching):
    manager = watching.ready(LEASE_SECONDS=3)
    enqueue("Wait", "gate")
    watching.bench.wait_for("begun")
    ManagerLease.objects.all().delete()
    manager.wait_for("manager.lease_lost")
    seen = scrape(manager)
    watching.bench.open("gate")
    wait_until_done()
    assert manager.stop() == 0

    lines = logged_by_action(manager)
    [lost] = lines["manager.lease_lost"]
    assert 0 < lost["partisan.manager.heartbeat_age_ns"] < 10**10
    assert lost["partisan.manager.held"] == 1
    assert seen.sum("partisan_manager_lease_lost_total") == 1
    assert "task.claim_lost" not in lines
    assert len(watching.bench.journal("begun")) == 1


def test_dropped_telemetry_is_logged(watching: Watching, sink: OtlpSink):
    sink.mode = "hang"
    variables = {"OTEL_EXPORTER_OTLP_ENDPOINT": sink.url, "OTEL_EXPORTER_OTLP_TIMEOUT": "1"}
    with socket.create_server(("127.0.0.1", 0)) as taken:
        manager = watching.ready(
            *("--metrics-port", str(taken.getsockname()[1])),
            observability={"METRICS_REQUIRED": False, "TELEMETRY_SHUTDOWN_TIMEOUT": 0.5},
            variables=variables,
            TASKS_PER_WORKER_INSTANCE=1,
        )
        enqueue("Leaf", times=3)
        manager.wait_for("worker.telemetry_flush_timeout")
        sink.mode = "refuse"
        sink.let_go()
        enqueue("Leaf", times=3)
        manager.wait_for("telemetry.dropped")
        wait_until_done()
        manager.stop()

    lines = logged_by_action(manager)
    assert lines.keys() >= OF_TELEMETRY
    assert len(lines["metrics.server_failed"]) == 1
