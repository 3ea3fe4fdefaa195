"""Kibana's saved objects for the log lines: a data view, two searches, four charts and a dashboard.

They have the format that Kibana 8 exports. Later versions migrate it on import.
"""

import json
from typing import Any, Final

DATA_VIEW: Final = "partisan-logs"
DASHBOARD: Final = "partisan-dashboard"
TITLE: Final = "logs-partisan.*-*"
DURATIONS: Final = ("event.duration", "partisan.task.wait_ns", "partisan.task.delay_ns")
"""Fields in nanoseconds, which the data view shows in readable units."""

_DESCRIPTION: Final = (
    "Runs, errors and durations, from the log lines of django-partisan. "
    "Checked for shape only: the tests run no Kibana."
)
_INDEX_REF: Final = "kibanaSavedObjectMeta.searchSourceJSON.index"
_CORE_VERSION: Final = "8.8.0"
_TYPE_VERSIONS: Final = {
    "index-pattern": "8.0.0",
    "search": "8.0.0",
    "visualization": "8.5.0",
    "dashboard": "8.9.0",
}
_RUN_COLUMNS: Final = [
    "event.action",
    "partisan.queue.name",
    "partisan.processor",
    "partisan.task.id",
    "partisan.task.attempt",
    "event.duration",
    "error.type",
    "message",
]


def saved_objects() -> list[dict[str, Any]]:
    """Return all objects. Each comes after the objects that it refers to."""
    charts = [
        _histogram("partisan-events", "Events over time", "", "event.action"),
        _histogram(
            "partisan-errors",
            "Retried and failed runs over time",
            'event.action : ("task.retried" or "task.failed")',
            "error.type",
        ),
        _table("partisan-durations", "Ended runs by processor", 'event.action : "task.completed"'),
        _table("partisan-failures", "Failed runs by processor", 'event.action : "task.failed"'),
    ]
    searches = [
        _search("partisan-runs", "Runs", 'event.action : task.* and not event.action : "task.claimed"'),
        _search("partisan-trouble", "Warnings and errors", 'log.level : ("warning" or "error")'),
    ]
    panels = [
        (charts[0], 0, 0, 48, 12),
        (charts[1], 0, 12, 24, 14),
        (charts[3], 24, 12, 24, 14),
        (charts[2], 0, 26, 48, 12),
        (searches[1], 0, 38, 48, 20),
    ]
    return [_data_view(), *searches, *charts, _dashboard(panels)]


def ndjson() -> str:
    """Return the objects in the format that Kibana imports: one line of JSON each."""
    return "".join(json.dumps(each, sort_keys=True) + "\n" for each in saved_objects())


def _data_view() -> dict[str, Any]:
    shown = {
        "id": "duration",
        "params": {
            "inputFormat": "nanoseconds",
            "outputFormat": "humanizePrecise",
            "outputPrecision": 2,
            "useShortSuffix": True,
            "showSuffix": True,
        },
    }
    attributes = {
        "title": TITLE,
        "name": "django-partisan logs",
        "timeFieldName": "@timestamp",
        "fieldFormatMap": json.dumps(dict.fromkeys(DURATIONS, shown)),
    }
    return _object("index-pattern", DATA_VIEW, attributes, [])


def _search(key: str, title: str, query: str) -> dict[str, Any]:
    attributes = {
        "title": f"Partisan: {title}",
        "description": "",
        "columns": _RUN_COLUMNS,
        "sort": [["@timestamp", "desc"]],
        **_source(query),
    }
    return _object("search", key, attributes, [_to_data_view()])


def _histogram(key: str, title: str, query: str, split_by: str) -> dict[str, Any]:
    aggregations = [
        {"id": "1", "enabled": True, "type": "count", "schema": "metric", "params": {}},
        {
            "id": "2",
            "enabled": True,
            "type": "date_histogram",
            "schema": "segment",
            "params": {"field": "@timestamp", "interval": "auto", "min_doc_count": 1},
        },
        _terms("3", "group", split_by),
    ]
    params = {
        "type": "histogram",
        "addTooltip": True,
        "addLegend": True,
        "legendPosition": "right",
        "seriesParams": [{"type": "histogram", "mode": "stacked", "data": {"id": "1", "label": "Count"}}],
    }
    return _visualization(key, title, query, "histogram", params, aggregations)


def _table(key: str, title: str, query: str) -> dict[str, Any]:
    aggregations = [
        {"id": "1", "enabled": True, "type": "count", "schema": "metric", "params": {}},
        {
            "id": "2",
            "enabled": True,
            "type": "percentiles",
            "schema": "metric",
            "params": {"field": "event.duration", "percents": [50, 95]},
        },
        _terms("3", "bucket", "partisan.processor"),
    ]
    params = {"perPage": 10, "showPartialRows": False, "showTotal": False}
    return _visualization(key, title, query, "table", params, aggregations)


def _terms(number: str, schema: str, field: str) -> dict[str, Any]:
    params = {"field": field, "orderBy": "1", "order": "desc", "size": 20, "missingBucket": False}
    return {"id": number, "enabled": True, "type": "terms", "schema": schema, "params": params}


def _visualization(
    key: str, title: str, query: str, kind: str, params: dict[str, Any], aggregations: list[dict[str, Any]]
) -> dict[str, Any]:
    named = f"Partisan: {title}"
    state = {"title": named, "type": kind, "params": params, "aggs": aggregations}
    attributes = {
        "title": named,
        "description": "",
        "visState": json.dumps(state),
        "uiStateJSON": "{}",
        "version": 1,
        **_source(query),
    }
    return _object("visualization", key, attributes, [_to_data_view()])


def _dashboard(panels: list[tuple[dict[str, Any], int, int, int, int]]) -> dict[str, Any]:
    shown = []
    references = []
    for number, (panel, x, y, width, height) in enumerate(panels, start=1):
        shown.append(
            {
                "type": panel["type"],
                "panelIndex": str(number),
                "panelRefName": f"panel_{number}",
                "gridData": {"x": x, "y": y, "w": width, "h": height, "i": str(number)},
                "embeddableConfig": {"enhancements": {}},
            }
        )
        references.append(
            {"name": f"{number}:panel_{number}", "type": panel["type"], "id": panel["id"]},
        )
    attributes = {
        "title": "Partisan: log lines",
        "description": _DESCRIPTION,
        "panelsJSON": json.dumps(shown),
        "optionsJSON": json.dumps({"useMargins": True, "hidePanelTitles": False}),
        "timeRestore": True,
        "timeFrom": "now-24h",
        "timeTo": "now",
        "version": 1,
        "kibanaSavedObjectMeta": {"searchSourceJSON": json.dumps(_query(""))},
    }
    return _object("dashboard", DASHBOARD, attributes, references)


def _source(query: str) -> dict[str, Any]:
    source = {**_query(query), "indexRefName": _INDEX_REF}
    return {"kibanaSavedObjectMeta": {"searchSourceJSON": json.dumps(source)}}


def _query(query: str) -> dict[str, Any]:
    return {"query": {"query": query, "language": "kuery"}, "filter": []}


def _to_data_view() -> dict[str, str]:
    return {"name": _INDEX_REF, "type": "index-pattern", "id": DATA_VIEW}


def _object(
    kind: str, key: str, attributes: dict[str, Any], references: list[dict[str, str]]
) -> dict[str, Any]:
    return {
        "type": kind,
        "id": key,
        "attributes": attributes,
        "references": references,
        "coreMigrationVersion": _CORE_VERSION,
        "typeMigrationVersion": _TYPE_VERSIONS[kind],
    }
