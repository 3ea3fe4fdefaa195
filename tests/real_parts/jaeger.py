"""A real Jaeger that stores spans in memory, built by `make parts PARTS=all`."""

import json
from pathlib import Path
from typing import Any, Final, NamedTuple

from tests.real_parts.servers import HOST, free_port, get
from tests.support.child import Child
from tools import parts
from tools.parts.go_programs import JAEGER

MOST_TRACES: Final = 1000


class Found(NamedTuple):
    """A span as Jaeger's search returns it; a link is a trace id and a span id."""

    trace_id: str
    span_id: str
    name: str
    service: str
    tags: dict[str, Any]
    parent: str | None
    links: list[tuple[str, str]]
    events: list[dict[str, Any]]

    @property
    def task(self) -> str | None:
        """The id of the span's task."""
        return self.tags.get("messaging.message.id")

    def has(self, tags: dict[str, str]) -> bool:
        """Return whether the span has these tags, compared as text."""
        return all(str(self.tags.get(name)) == value for name, value in tags.items())


class Jaeger(Child):
    """Accepts spans by OTLP over HTTP at ``otlp_url``, and answers searches."""

    def __init__(self, folder: Path) -> None:
        otlp, query, grpc = (f"{HOST}:{free_port()}" for _ in range(3))
        self.otlp_url = f"http://{otlp}"
        self._api = f"http://{query}/api"
        storage = {"backends": {"spans": {"memory": {"max_traces": MOST_TRACES}}}}
        answers = {"storage": {"traces": "spans"}, "http": {"endpoint": query}, "grpc": {"endpoint": grpc}}
        config = {
            "extensions": {"jaeger_storage": storage, "jaeger_query": answers},
            "receivers": {"otlp": {"protocols": {"http": {"endpoint": otlp}}}},
            "exporters": {"jaeger_storage_exporter": {"trace_storage": "spans"}},
            "service": {
                "extensions": ["jaeger_storage", "jaeger_query"],
                "pipelines": {"traces": {"receivers": ["otlp"], "exporters": ["jaeger_storage_exporter"]}},
                "telemetry": {"metrics": {"level": "none"}},
            },
        }
        file = folder / "jaeger.json"
        file.write_text(json.dumps(config))
        super().__init__("jaeger", [str(parts.find(JAEGER)), "--config", str(file)], folder)
        self.wait_until_it_answers(f"{self._api}/services")

    def services(self) -> list[str]:
        """Return the names of the services that have sent spans."""
        return get(f"{self._api}/services")["data"] or []

    def operations(self, service: str) -> set[str]:
        """Return the names of a service's spans."""
        return set(get(f"{self._api}/services/{service}/operations")["data"] or [])

    def trace(self, trace_id: str) -> list[Found]:
        """Return the spans of one trace."""
        [trace] = get(f"{self._api}/traces/{trace_id}")["data"]
        return [_found(trace, span) for span in trace["spans"]]

    def search(self, service: str, operation: str = "", **tags: str) -> list[Found]:
        """Return the spans with an operation and tags; ``a__b`` means the tag ``a.b``.

        Jaeger returns whole traces; spans of these that do not match are left out.
        """
        wanted = {name.replace("__", "."): value for name, value in tags.items()}
        query: dict[str, Any] = {"service": service, "limit": MOST_TRACES, "lookback": "1h"}
        query |= {"operation": operation} if operation else {}
        query |= {"tags": json.dumps(wanted)} if wanted else {}
        traces = get(f"{self._api}/traces", **query)["data"]
        spans = [_found(trace, span) for trace in traces for span in trace["spans"]]
        return [span for span in spans if operation in ("", span.name) and span.has(wanted)]


def _found(trace: dict[str, Any], span: dict[str, Any]) -> Found:
    references = [(each["refType"], each["traceID"], each["spanID"]) for each in span["references"]]
    parents = [span_id for kind, trace_id, span_id in references if kind == "CHILD_OF"]
    return Found(
        span["traceID"],
        span["spanID"],
        span["operationName"],
        trace["processes"][span["processID"]]["serviceName"],
        _values(span["tags"]),
        parents[0] if parents else None,
        [(trace_id, span_id) for kind, trace_id, span_id in references if kind == "FOLLOWS_FROM"],
        [_values(log["fields"]) for log in span["logs"]],
    )


def _values(pairs: list[dict[str, Any]]) -> dict[str, Any]:
    return {pair["key"]: pair["value"] for pair in pairs}
