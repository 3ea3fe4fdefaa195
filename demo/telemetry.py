"""Collect metrics, a log of ECS lines and spans of the demo's tasks, and find one task in all three."""

import json
import os
import re
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass, field
from http.client import HTTPException
from pathlib import Path
from typing import Any

WITHOUT_PROXIES = urllib.request.build_opener(urllib.request.ProxyHandler({}))
OPENMETRICS = "application/openmetrics-text; version=1.0.0"
SPANS_AT_ONCE = 1 << 15
"""The size of the SDK's queue, which drops spans when it is full: bulk_delay() emits one per task at once."""

_EXEMPLAR = re.compile(
    r'^partisan_task_duration_seconds_bucket{(.*)} \S+ # {(?=.*trace_id="(\w+)").*span_id="(\w+)"',
    re.MULTILINE,
)


@dataclass(frozen=True)
class Followed:
    """One task: its log lines, its spans, and the series with its exemplar."""

    task: str
    processor: str
    lines: list[dict[str, Any]]
    spans: list[dict[str, Any]]
    series: str
    trace: str
    span: str


@dataclass
class Telemetry:
    """The files of the telemetry. ``traces_to`` is a collector's address, or ``None`` without an exporter."""

    folder: Path
    traces_to: str | None = None
    last_scrape: str = ""
    _address: str | None = field(default=None, repr=False)

    @property
    def log(self) -> Path:
        """The log of manager and workers: one line of JSON per event, with the field names of ECS."""
        return self.folder / "events.ecs.json"

    @property
    def spans(self) -> Path:
        """The file of spans, one per line."""
        return self.folder / "spans.json"

    @property
    def metrics(self) -> Path:
        """The file with the last scrape."""
        return self.folder / "metrics.txt"

    @property
    def options(self) -> tuple[str, ...]:
        """The options of `start_partisan`."""
        return "--metrics-port", "0", "--log-format", "ecs", "--log-file", str(self.log)

    @property
    def address(self) -> str | None:
        """The address of the manager's metrics, when it has logged it."""
        if self._address is None:
            for line in read_lines(self.log):
                if line.get("event.action") == "manager.started":
                    self._address = line["partisan.manager.metrics_address"]
                    break
        return self._address

    def scrape(self) -> None:
        """Scrape once, as Prometheus does, and keep the result."""
        if self.address is None:
            return
        request = urllib.request.Request(f"{self.address}/metrics", headers={"Accept": OPENMETRICS})
        try:
            with WITHOUT_PROXIES.open(request, timeout=5) as response:
                self.last_scrape = response.read().decode()
        except (OSError, HTTPException):
            return  # the manager has just ended, before or during its answer; the previous scrape is the last
        self.metrics.write_text(self.last_scrape, encoding="utf-8")


def read_lines(file: Path) -> Iterator[dict[str, Any]]:
    """Yield the complete lines of a file of JSON lines."""
    if file.exists():
        with file.open(encoding="utf-8") as lines:
            for line in lines:
                if line.endswith("\n"):
                    yield json.loads(line)


@contextmanager
def watched(folder: Path) -> Iterator[Telemetry]:
    """Collect telemetry for the length of a `with` block; without an exporter, there are no spans."""
    telemetry = Telemetry(folder)
    for file in (telemetry.log, telemetry.spans, telemetry.metrics):
        file.unlink(missing_ok=True)
    for name in [name for name in os.environ if name.startswith("OTEL_")]:
        del os.environ[name]  # do not use the user's own collector
    try:
        from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter

        from tools.otlp_sink import OtlpSink
    except ImportError:
        yield telemetry
        return
    with telemetry.spans.open("w", buffering=1, encoding="utf-8") as spans:

        def keep(span: Any) -> None:
            print(json.dumps(asdict(span)), file=spans)
            sink.spans.clear()  # the file is enough

        with OtlpSink(heard=keep) as sink:
            # Managers and workers set up OpenTelemetry from these variables. This process is an application,
            # which must do that itself.
            os.environ |= {"OTEL_EXPORTER_OTLP_ENDPOINT": sink.url, "OTEL_SERVICE_NAME": "demo"}
            telemetry.traces_to = sink.url
            provider = _export(OTLPSpanExporter())
            try:
                yield telemetry
            finally:
                provider.shutdown()


def _export(exporter: Any) -> Any:
    from opentelemetry import trace
    from opentelemetry.sdk.trace import TracerProvider
    from opentelemetry.sdk.trace.export import BatchSpanProcessor

    provider = TracerProvider(shutdown_on_exit=False)
    provider.add_span_processor(BatchSpanProcessor(exporter, max_queue_size=SPANS_AT_ONCE))
    trace.set_tracer_provider(provider)
    return provider


def follow_one(telemetry: Telemetry) -> Followed | None:
    """Return the task of an exemplar in the last scrape, preferably one that was retried."""
    spans = list(read_lines(telemetry.spans))
    by_id = {span["span_id"]: span for span in spans}
    exemplars = _EXEMPLAR.findall(telemetry.last_scrape)
    exemplars.sort(key=lambda exemplar: 'outcome="retried"' not in exemplar[0])
    named = next((exemplar for exemplar in exemplars if exemplar[2] in by_id), None)
    if named is None:
        return None
    attributes = by_id[named[2]]["attributes"]
    task = attributes["messaging.message.id"]
    lines = [line for line in read_lines(telemetry.log) if line.get("partisan.task.id") == task]
    runs = [span for span in spans if span["attributes"].get("messaging.message.id") == task]
    runs.sort(key=lambda span: span["started"])
    return Followed(task, attributes["partisan.processor"], lines, runs, *named)
