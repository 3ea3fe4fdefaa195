"""Build a dashboard from its rows: positions and ids of panels, variables, links and annotations."""

import json
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any, Final

from grafana_foundation_sdk.builders import dashboard as build
from grafana_foundation_sdk.cog.encoder import JSONEncoder
from grafana_foundation_sdk.models import dashboard as model

from grafana.builder.links import DASHBOARDS, to_dashboards
from grafana.builder.panels import DATASOURCE, Panel
from grafana.builder.queries import Query

GRID_WIDTH: Final = 24

_DEPLOYS: Final = Query(
    """partisan_build_info{@instance} unless partisan_build_info{@instance} offset 2m
    or partisan_build_info{@instance}
    and on (job, instance) changes(process_start_time_seconds{@instance}[2m]) > 0"""
)
_PAUSES: Final = Query("max by (queue) (partisan_queue_paused{@queue}) > 0")
_CRASHES: Final = Query(
    'sum by (queue, reason) (increase(partisan_worker_exits_total{@queue,reason=~"error|signal"}[1m])) > 0'
)
_RECYCLES: Final = Query(
    'sum by (queue) (increase(partisan_worker_exits_total{@queue,reason="recycled"}[1m])) > 0'
)


@dataclass(frozen=True)
class Row:
    """A titled row. Its panels are placed side by side and wrap when the full width is used."""

    title: str
    panels: Sequence[Panel]


@dataclass(frozen=True)
class Dashboard:
    """A dashboard: its uid, its rows, and whether it has a variable for the processor."""

    uid: str
    rows: Sequence[Row]
    by_processor: bool = False


def to_json(dashboard: Dashboard) -> str:
    """Return the dashboard as JSON for Grafana. The same dashboard always gives the same text."""
    title, question = DASHBOARDS[dashboard.uid]
    builder = (
        build.Dashboard(f"Partisan / {title}").uid(dashboard.uid).description(question).tags(["partisan"])
    )
    builder.timezone("browser").time("now-3h", "now").refresh("30s").version(1).editable()
    builder.tooltip(model.DashboardCursorSync.CROSSHAIR)
    builder.variables(list(_variables(dashboard.by_processor)))
    builder.annotations(list(_annotations())).links(to_dashboards(besides=dashboard.uid))
    built = builder.build()
    built.panels = list(_placed(dashboard.rows))
    return json.dumps(_tidy(json.loads(JSONEncoder().encode(built))), indent=2, sort_keys=True) + "\n"


def _placed(rows: Sequence[Row]) -> Iterator[model.Panel | model.RowPanel]:
    """Yield the rows and their panels, each with an id and a position."""
    number, y = 1, 0
    for row in rows:
        yield model.RowPanel(
            title=row.title, id_val=number, grid_pos=model.GridPos(h=1, w=GRID_WIDTH, x=0, y=y)
        )
        number, x, y, tallest = number + 1, 0, y + 1, 0
        for builder in row.panels:
            panel = builder.build()
            place = panel.grid_pos or model.GridPos()
            if x + place.w > GRID_WIDTH:
                x, y, tallest = 0, y + tallest, 0
            place.x, place.y = x, y
            panel.grid_pos, panel.id_val = place, number
            number, x, tallest = number + 1, x + place.w, max(tallest, place.h)
            yield panel
        y += tallest


def _variables(by_processor: bool) -> Iterator[Any]:
    yield build.DatasourceVariable("datasource").label("Prometheus").type("prometheus")
    queries = {
        "job": ("Job", "label_values(partisan_build_info, job)"),
        "instance": ("Manager", 'label_values(partisan_build_info{job=~"$job"}, instance)'),
        "queue": ("Queue", Query("label_values(partisan_workers_configured{@instance}, queue)").promql),
    }
    if by_processor:
        found = Query("label_values(partisan_tasks_started_total{@queue}, processor)").promql
        queries["processor"] = ("Processor", found)
    for name, (label, query) in queries.items():
        yield _query_variable(name, label, query)
    yield build.DatasourceVariable("traces").label("Traces").type("tempo")
    yield build.DatasourceVariable("logs").label("Logs").type("elasticsearch")


def _query_variable(name: str, label: str, query: str) -> build.QueryVariable:
    variable = build.QueryVariable(name).label(label).datasource(DATASOURCE)
    variable.query({"qryType": 1, "query": query, "refId": name})
    variable.multi(True).include_all(True).all_value(".+")
    variable.current(model.VariableOption(selected=True, text=["All"], value=["$__all"]))
    return variable.refresh(model.VariableRefresh.ON_TIME_RANGE_CHANGED).sort(
        model.VariableSort.ALPHABETICAL_ASC
    )


def _annotations() -> Iterator[build.AnnotationQuery]:
    """Yield the annotations of graphs. Recycled workers are off by default, because there are many."""
    shown = (
        (
            "Deploys and manager starts",
            _DEPLOYS,
            "blue",
            True,
            "{{instance}}: partisan {{version}}",
            "version,job",
        ),
        ("Queues paused", _PAUSES, "orange", True, "Queue {{queue}} is paused", "queue"),
        (
            "Workers that died",
            _CRASHES,
            "red",
            True,
            "A worker of {{queue}} died ({{reason}})",
            "queue,reason",
        ),
        ("Workers recycled", _RECYCLES, "purple", False, "Workers of {{queue}} recycled", "queue"),
    )
    for name, query, colour, enabled, text, tags in shown:
        annotation = (
            build.AnnotationQuery().name(name).datasource(DATASOURCE).enable(enabled).icon_color(colour)
        )
        yield annotation.expr(query.promql).step("30s").title_format(name).text_format(text).tag_keys(tags)


def _tidy(value: Any, key: str = "") -> Any:
    """Drop keys that the SDK adds: those of other links and variables, and those that hide controls."""
    if isinstance(value, list):
        return [_tidy(item, key) for item in value]
    if not isinstance(value, dict):
        return value
    if (
        "keepTime" in value
        and str(value.get("url")).startswith(("/explore", "/d/"))
        and not value.get("icon")
    ):
        return {name: value[name] for name in ("title", "url", "targetBlank")}
    unwanted = {"auto", "auto_min", "auto_count"} | (set() if key == "legend" else {"placement"})
    return {name: _tidy(item, name) for name, item in value.items() if name not in unwanted}
