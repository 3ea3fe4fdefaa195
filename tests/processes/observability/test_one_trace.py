"""One task is followed by its ids: the enqueuer's span, the run's span, its log lines, and an exemplar."""

import json

import pytest

from tests.processes.observability.lines import checked
from tests.processes.observability.scraping import scrape_until
from tests.processes.observability.watching import Watching, wait_until_done
from tools.otlp_sink import OtlpSink, ReceivedSpan

ENQUEUE = """
import json, structlog
from opentelemetry import trace
from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import BatchSpanProcessor

provider = TracerProvider()
provider.add_span_processor(BatchSpanProcessor(OTLPSpanExporter()))
trace.set_tracer_provider(provider)
structlog.contextvars.bind_contextvars(request_id="r-17", shoe_size=44)
with trace.get_tracer("shop").start_as_current_span("checkout") as span:
    task = Measured().delay()
print(json.dumps([task.pk, f"{span.get_span_context().trace_id:032x}"]))
provider.shutdown()
"""


def follow(watching: Watching, sink: OtlpSink, propagation: str) -> tuple[int, str]:
    """Enqueue in a process of the application, and run; return the task's id and the enqueuer's trace id."""
    done = watching.application(ENQUEUE, OTEL_EXPORTER_OTLP_ENDPOINT=sink.url)
    assert done.returncode == 0, done.stderr
    task, trace_id = json.loads(done.stdout)
    watching.ready(
        observability={"TRACE_PROPAGATION": propagation, "TRACE_SETTLES": True},
        variables={"OTEL_EXPORTER_OTLP_ENDPOINT": sink.url, "OTEL_SERVICE_NAME": "shop"},
    )
    wait_until_done()
    return task, trace_id


def spans_by_name(sink: OtlpSink) -> dict[str, ReceivedSpan]:
    return {span.name: span for span in sink.spans}


@pytest.mark.parametrize("propagation", ["link", "child", "none"])
def test_a_task_is_followed_from_its_enqueuer_to_its_exemplar(
    watching: Watching, sink: OtlpSink, propagation: str
):
    task, trace_id = follow(watching, sink, propagation)
    [manager] = watching.bench.managers
    seen = scrape_until(manager, "partisan_task_duration_seconds_count", 1, processor="Measured")
    assert manager.stop() == 0
    spans = spans_by_name(sink)
    checkout, send, run = spans["checkout"], spans["send default"], spans["process default"]
    lines = {line.get("event.action"): line for line in checked(manager.out())}
    completed, said = lines["task.completed"], lines[None]

    assert (send.parent_id, send.trace_id) == (checkout.span_id, trace_id)
    assert (send.kind, run.kind) == ("producer", "consumer")
    assert send.attributes["messaging.message.id"] == run.attributes["messaging.message.id"] == str(task)
    links = [(link.trace_id, link.span_id) for link in run.links]
    if propagation == "child":
        assert (run.trace_id, run.parent_id) == (trace_id, send.span_id)
    else:
        assert run.trace_id != trace_id
        assert run.parent_id == ""
    assert links == ([] if propagation == "none" else [(trace_id, send.span_id)])
    assert run.attributes["partisan.task.outcome"] == "completed"
    assert [event.name for event in run.events] == ["task.completed"]

    assert (said["message"], said["log.logger"]) == ("sent 1 mails", "django_partisan.task")
    assert (said["log.level"], said["partisan.processor"]) == ("info", "Measured")
    assert (said["labels.country"], said["labels.customer"]) == ("at", '{"id": 7}')
    assert completed["partisan.task.id"] == said["partisan.task.id"] == str(task)
    assert completed["partisan.task.attempt"] == said["partisan.task.attempt"] == 1
    for line in (completed, said):
        assert (line["trace.id"], line["span.id"], line["transaction.id"]) == (
            run.trace_id,
            run.span_id,
            run.span_id,
        )
        assert line["labels.request_id"] == "r-17"
        assert "labels.shoe_size" not in line
        assert line["service.name"] == "shop"
    assert completed["partisan.task.enqueued_trace_id"] == trace_id

    assert {tuple(sorted(exemplar.labels.items())) for exemplar in seen.exemplars.values()} == {
        (("span_id", run.span_id), ("trace_id", run.trace_id))
    }
    [measured] = watching.bench.journal("measured")
    assert (measured["trace"], measured["span"]) == (run.trace_id, run.span_id)
    for name in ("claim default", "settle default"):
        linked = {link.span_id for link in spans[name].links}
        assert linked == {send.span_id if name.startswith("claim") else run.span_id}
