"""A third-party collector accepts the spans of managers and workers, and forwards them unchanged."""

import importlib.util
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.processes.managing import Bench
from tests.processes.observability.watching import Watching, enqueue_each, wait_until_done
from tests.real_parts.servers import HOST, free_port, listens
from tests.support.child import Child
from tests.support.waiting import wait_until
from tools.otlp_sink import OtlpSink, ReceivedSpan


def rotel() -> Path | None:
    """Return the program inside rotel's wheel, if it is installed."""
    spec = importlib.util.find_spec("rotel")
    return Path(spec.origin).with_name("rotel-agent") if spec is not None and spec.origin else None


pytestmark = pytest.mark.skipif(
    rotel() is None, reason="rotel is not installed: pip install --pre rotel==0.0.1a15"
)


class Collector(Child):
    """A rotel that forwards to a sink; ``url`` is the address where it listens."""

    def __init__(self, folder: Path, sink: OtlpSink) -> None:
        port = free_port()
        address = f"{HOST}:{port}"
        self.url = f"http://{address}"
        command = [
            *(str(rotel()), "start", "--pid-file", str(folder / "rotel.pid")),
            *("--otlp-http-endpoint", address, "--otlp-grpc-endpoint", f"{HOST}:{free_port()}"),
            *("--exporter", "otlp", "--otlp-exporter-endpoint", sink.url, "--otlp-exporter-protocol", "http"),
        ]
        super().__init__("rotel", command, folder)
        wait_until(lambda: listens(port) or self.process.poll() is not None, 30, "rotel listens")


@pytest.fixture
def collector(sink: OtlpSink, tmp_path: Path) -> Iterator[Collector]:
    folder = tmp_path / "rotel"
    folder.mkdir()
    made = Collector(folder, sink)
    yield made
    made.stop()


@pytest.fixture
def watching(transactional_db: None, tmp_path: Path) -> Iterator[Watching]:
    made = Bench(tmp_path)
    yield Watching(made)
    made.destroy()


def run_some(watching: Watching, endpoint: str) -> None:
    """Run the same tasks each time, with all their spans sent to an endpoint."""
    variables = {"OTEL_EXPORTER_OTLP_ENDPOINT": endpoint, "OTEL_SERVICE_NAME": "shop"}
    manager = watching.ready(variables=variables, WORKERS_COUNT=2)
    enqueue_each(("Enqueue",), ("PostponeOnce",), ("RetryConstantly", 1), ("Fail", "no"))
    wait_until_done()
    assert manager.stop() == 0


def shapes(spans: list[ReceivedSpan]) -> list[tuple[object, ...]]:
    """Return the parts of spans that are equal in two runs of the same tasks."""
    ours = [
        span for span in spans if span.resource.get("service.name") == "shop" and "claim" not in span.name
    ]
    found: list[tuple[object, ...]] = [
        (
            span.name,
            span.kind,
            span.status,
            sorted(span.attributes),
            [event.name for event in span.events],
            len(span.links),
        )
        for span in ours
    ]
    return sorted(found, key=repr)


def test_spans_pass_through_an_independent_collector_unchanged(
    watching: Watching, sink: OtlpSink, collector: Collector
):
    run_some(watching, collector.url)
    sink.wait_for(8, "process")
    through = list(sink.spans)
    sink.spans.clear()
    run_some(watching, sink.url)

    assert shapes(through) == shapes(sink.spans)
    runs = [span for span in through if span.name == "process default"]
    sends = {span.span_id: span for span in through if span.name == "send default"}
    links = [link.span_id for run in runs for link in run.links]
    assert set(sends) <= {*links, *sends}
    assert len({span.trace_id for span in runs}) == len(runs)
    assert {span.attributes["partisan.task.outcome"] for span in runs} == {
        *("completed", "postponed", "retried", "failed")
    }
