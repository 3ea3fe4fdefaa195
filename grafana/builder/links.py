"""Links from panels to the other dashboards, and to the traces and logs behind a figure."""

import json
import re
from typing import Any, Final
from urllib.parse import quote

from grafana_foundation_sdk.builders.dashboard import DashboardLink
from grafana_foundation_sdk.cog.builder import Builder
from grafana_foundation_sdk.models import dashboard as model

DASHBOARDS: Final = {
    "partisan-overview": ("Overview", "Is work late, is it failing, is capacity exhausted?"),
    "partisan-processors": ("Processors", "Which kind of task is failing, waiting or taking a long time?"),
    "partisan-workers": ("Workers", "Are the worker and manager processes healthy?"),
    "partisan-database": ("Database", "Is PostgreSQL healthy, and can the figures be trusted?"),
    "partisan-telemetry": ("Telemetry", "Are counters, logs and spans arriving?"),
}
"""The title of each dashboard and the question it answers, by uid."""


def to_dashboards(besides: str) -> list[Builder[model.DashboardLink]]:
    """Return links to every dashboard except ``besides``. They keep the time range and the variables."""
    return [
        DashboardLink(title)
        .type(model.DashboardLinkType.LINK)
        .icon("dashboard")
        .tooltip(question)
        .url(f"/d/{uid}")
        .tags([])
        .include_vars(True)
        .keep_time(True)
        for uid, (title, question) in DASHBOARDS.items()
        if uid != besides
    ]


def to_processor(value: str) -> DashboardLink:
    """Return a data link to the dashboard Processors, filtered by the processor in ``value``."""
    url = (
        f"/d/partisan-processors?${{__url_time_range}}&${{datasource:queryparam}}&var-processor=${{{value}}}"
    )
    return _data_link("This processor alone", url)


def to_traces_and_logs(by: str) -> list[DashboardLink]:
    """Return data links to the traces and the logs of the runs that a series counts.

    ``by`` is the label that both are filtered by, ``queue`` or ``processor``; ``""`` applies no filter.
    """
    attribute, field = {
        "queue": ("span.messaging.destination.name", "partisan.queue.name"),
        "processor": ("span.partisan.processor", "partisan.processor"),
    }.get(by, ("", ""))
    label = f"${{__field.labels.{by}}}"
    traceql = '{ span.messaging.system = "partisan"' + (f' && {attribute} = "{label}"' if by else "") + " }"
    lucene = 'event.module:"partisan"' + (f' AND {field}:"{label}"' if by else "")
    traces = {"refId": "A", "queryType": "traceql", "query": traceql}
    logs = {
        "refId": "A",
        "query": lucene,
        "metrics": [{"id": "1", "type": "logs"}],
        "timeField": "@timestamp",
    }
    return [
        _data_link("Traces in this time range", _explore("traces", "tempo", traces)),
        _data_link("Logs in this time range", _explore("logs", "elasticsearch", logs)),
    ]


def _explore(variable: str, kind: str, query: dict[str, Any]) -> str:
    """Return the URL of Explore. Grafana fills in ``${...}``, so these are not quoted."""
    source = f"${{{variable}}}"
    pane = {
        "datasource": source,
        "queries": [{**query, "datasource": {"type": kind, "uid": source}}],
        "range": {"from": "${__from}", "to": "${__to}"},
    }
    text = json.dumps({"partisan": pane}, separators=(",", ":"))
    parts = re.split(r"(\$\{[^}]+\})", text)
    quoted = "".join(part if part.startswith("${") else quote(part, safe="") for part in parts)
    return f"/explore?schemaVersion=1&panes={quoted}"


def _data_link(title: str, url: str) -> DashboardLink:
    return DashboardLink(title).title(title).url(url).target_blank(True)
