"""The dashboard Telemetry: are counters, logs and spans arriving, and what do scrapes cost?"""

from typing import Final

from django_partisan.metrics.catalogue import TELEMETRY_DROPPED
from grafana.builder.colours import ORANGE, PURPLE, RED, warm
from grafana.builder.dashboard import Dashboard, Row
from grafana.builder.panels import Panel, graph, grid
from grafana.builder.queries import Query, in_interval, per_second
from grafana.builder.workers import OURS


def _arrives() -> list[Panel]:
    return [
        graph(
            "Messages from workers",
            "Messages from the workers' pipes; each carries outcomes and counts. If there are none while runs"
            " start, counters lag behind.",
            Query(per_second("partisan_telemetry_messages_total", "queue"), "{{queue}}"),
            unit="suffix:/s",
            width=12,
        ),
        graph(
            "Dropped",
            "Lost telemetry, by reason; tasks are not affected. Any loss fires PartisanTelemetryDropping."
            " Spans dropped: the collector is down or too slow.",
            Query(in_interval("partisan_telemetry_dropped_total", "reason"), "{{reason}}"),
            unit="short",
            width=12,
            shades=RED,
            colours=warm(TELEMETRY_DROPPED.values["reason"]),
            stacked=True,
            bars=True,
        ),
        graph(
            "Swallowed errors",
            "Errors inside logging, tracing or metrics that were caught so that tasks are not affected. The"
            " first of each kind is written to the process's standard error.",
            Query(
                "sum by (signal) (increase(partisan_telemetry_errors_total{@instance}[$__rate_interval]))",
                "{{signal}}",
            ),
            unit="short",
            width=12,
            shades=RED,
            colours={"logs": ORANGE, "traces": PURPLE, "metrics": RED},
            stacked=True,
            bars=True,
        ),
        graph(
            "Labels folded into _other",
            "Label values beyond the limits, which fire PartisanLabelOverflow. Cause: exception classes that"
            " are created at run time, or more processors than METRICS_MAX_SERIES allows.",
            Query(
                "sum by (label)"
                " (increase(partisan_telemetry_label_overflow_total{@instance}[$__rate_interval]))",
                "{{label}}",
            ),
            unit="short",
            width=12,
            shades=ORANGE,
            colours={"error_type": RED},
            stacked=True,
            bars=True,
        ),
    ]


def _costs() -> list[Panel]:
    return [
        graph(
            "Scrape time",
            "How long Prometheus waits for each manager. Near the scrape timeout (10 s by default) figures"
            " go missing. Normal: a few milliseconds. The database's share is shown on Database.",
            Query(f"max by (instance) (scrape_duration_seconds{{@instance}} {OURS})", "{{instance}}"),
            unit="s",
            width=12,
        ),
        graph(
            "Samples per scrape",
            "Samples that each manager exports. The number grows with processors and error types. With the"
            " example scrape configuration, scrapes above its sample_limit fail.",
            Query(f"max by (instance) (scrape_samples_scraped{{@instance}} {OURS})", "{{instance}}"),
            unit="short",
            width=12,
        ),
    ]


def _runs_where() -> list[Panel]:
    return [
        grid(
            "Versions by manager",
            "Versions in use by each manager. After a deploy, every row shows the new one. If two versions"
            " stay side by side for long, a host was forgotten.",
            Query(
                "max by (job, instance, version, django, python, postgresql)"
                " (partisan_build_info{@instance})",
                table=True,
            ),
            unit="short",
            columns={
                "instance": "Manager",
                "version": "django-partisan",
                "django": "Django",
                "python": "Python",
                "postgresql": "PostgreSQL",
                "job": "Job",
            },
            hidden=["Value"],
            sort_by="Manager",
            height=7,
        )
    ]


DASHBOARD: Final = Dashboard(
    "partisan-telemetry",
    (Row("Delivery", _arrives()), Row("Cost", _costs()), Row("Versions", _runs_where())),
)
