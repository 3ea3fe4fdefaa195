"""Sentry, set up by the host application, receives each failure of real workers once."""

from collections import Counter
from typing import Any

from tests.processes.tracked.apps import SENTRY_DSN
from tests.settings import INSTALLED_APPS
from tests.support.sentry_sink import SentrySink, sentry_sink

from .managing import Bench, ManagerProcess
from .observability.watching import enqueue

WAYS = ("plain", "plain", "captured", "forked", "retry")
"""Together with the asynchronous task, six failures."""


def serve(bench: Bench, sink: SentrySink) -> ManagerProcess:
    """Serve the tracked application's tasks until none is waiting, with workers that run one task each."""
    manager = bench.start(
        "--until-empty",
        settings={"INSTALLED_APPS": [*INSTALLED_APPS, "tests.processes.tracked"]},
        variables={SENTRY_DSN: sink.dsn, "OTEL_TRACES_EXPORTER": "console"},
        TASKS_PER_WORKER_INSTANCE=1,
        MAX_CRASHES=1,
    )
    assert manager.ended() == 2, str(manager)  # exit code: tasks have failed
    return manager


def frames_of(event: dict[str, Any]) -> list[str]:
    [exception] = event["exception"]["values"]
    return [frame["function"] for frame in exception.get("stacktrace", {}).get("frames", [])]


def test_each_failure_is_one_event_with_frames_tags_and_the_trace_of_its_run(bench: Bench):
    for way in WAYS:
        enqueue("Order", way)
    enqueue("OrderAsynchronously")
    enqueue("Die", 2)

    with sentry_sink() as sink:
        manager = serve(bench, sink)

    failed = {line["partisan.task.id"]: line for line in manager.logged("task.failed")}
    failures = [event for event in sink.events if "exception" in event]
    exits = [event["logentry"]["message"] for event in sink.events if event not in failures]
    assert exits == ["Worker %s exited (pid %s, %s, %s)%s"] * 2, "those that Die has killed"
    events = {event["tags"]["partisan.task_id"]: event for event in failures}
    assert len(failures) == len(events) == len(failed) == 7
    lost = events.pop(next(key for key, line in failed.items() if line["event.reason"] == "worker_lost"))
    assert lost["tags"]["partisan.processor"] == "Die"
    assert Counter(event["tags"]["way"] for event in events.values()) == Counter((*WAYS, "asynchronous"))
    for task_id, event in events.items():
        line = failed[task_id]
        assert event["tags"]["partisan.processor"] == event["transaction"] == line["partisan.processor"]
        assert event["tags"]["partisan.queue"] == "default"
        assert event["tags"]["partisan.attempt"] == str(line["partisan.task.attempt"])
        assert event["contexts"]["trace"]["trace_id"] == line["trace.id"]
        assert frames_of(event)[-1] in ("run", "_refuse_and_capture")
