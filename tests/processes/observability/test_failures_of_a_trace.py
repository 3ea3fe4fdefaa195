"""One documented query finds every failure of a request, including a task whose worker died."""

from opentelemetry import trace
from structlog.contextvars import bound_contextvars

from tests.processes.observability.lines import checked
from tests.processes.observability.watching import Watching, enqueue_each, wait_until_done
from tests.support.log_queries import documented, found_by
from tools.otlp_sink import OtlpSink

REQUEST = trace.SpanContext(0x17, 0x4, is_remote=True, trace_flags=trace.TraceFlags(1))
TRACE_ID = f"{REQUEST.trace_id:032x}"
FAILURES = [
    ("task.failed", "error"),
    ("task.failed", "retries_exhausted"),
    ("task.failed", "worker_lost"),
    ("task.rescued", "worker_lost"),
    ("task.retried", None),
    ("task.retried", None),
]
RUNS = 8
"""Two fail, three use up the retries of one task, two kill their worker, one completes."""


def test_the_documented_queries_find_every_failure_of_a_request(watching: Watching, sink: OtlpSink):
    with trace.use_span(trace.NonRecordingSpan(REQUEST)), bound_contextvars(request_id="r-17"):
        enqueue_each(("Fail", "no"), ("Mixed", "exhaust", 1), ("Die", 9), ("Pass",))
    enqueue_each(("Fail", "not of this request"))
    manager = watching.ready(
        WORKERS_COUNT=1,
        MAX_CRASHES=1,
        variables={"OTEL_EXPORTER_OTLP_ENDPOINT": sink.url, "OTEL_SERVICE_NAME": "shop"},
    )
    wait_until_done()
    assert manager.stop() == 0

    lines = checked(manager.out())
    by_trace, by_request = documented("text", "Every failure of one request")
    for query in (by_trace.replace("4bf92f3577b34da6a3ce929d0e0e4736", TRACE_ID), by_request):
        found = [(line["event.action"], line.get("event.reason")) for line in found_by(query, lines)]
        assert sorted(found, key=str) == FAILURES, query
    dropped = [line for line in lines if line.get("event.action") == "telemetry.dropped"]
    assert {line["event.reason"] for line in dropped} == {"worker_lost"}
    runs = [span for span in sink.spans if span.name == "process default"]
    assert len(runs) + sum(line["partisan.telemetry.count"] for line in dropped) == RUNS
    exits = [line for line in lines if line.get("partisan.worker.signal") == "SIGKILL"]
    assert [line["partisan.task.enqueued_trace_id"] for line in exits] == [TRACE_ID] * 2
    lost = [span for span in sink.spans if span.attributes.get("partisan.processor") == "Die"]
    lost.sort(key=lambda span: span.attributes["partisan.task.attempt"])
    assert [[event.name for event in span.events] for span in lost] == [
        ["exception", "task.rescued"],
        ["exception", "task.failed"],
    ]
    assert [span.attributes.get("partisan.task.outcome") for span in lost] == [None, "failed"]
    for span in lost:
        assert (span.name, span.kind, span.status) == ("process default", "consumer", "error")
        assert span.attributes["messaging.client.id"].split(":")[1] == str(manager.pid)
        assert [link.trace_id for link in span.links] == [TRACE_ID]
        assert 0 < span.ended - span.started < 60 * 10**9
