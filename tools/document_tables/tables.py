"""Generate each table of the documentation from the declarations in the code."""

import logging
from collections.abc import Callable, Iterable, Mapping
from functools import partial
from typing import Final

from django_partisan import logs
from django_partisan.config import observability, problems, queue_keys, schedule_keys
from django_partisan.config.validation import Setting
from django_partisan.logs import fields
from django_partisan.logs.fields import Field
from django_partisan.logs.log_event import LogEvent
from django_partisan.metrics import catalogue
from django_partisan.metrics.metric import Metric
from django_partisan.tracing import spans
from tools.document_tables import commands
from tools.document_tables.markdown import table

COMPUTED_DEFAULTS: Final = {"WORKERS_COUNT": "the number of cores that this process may use"}

GROUPS: Final = {
    "R": fields.RUN_FIELDS,
    "T": fields.TASK_FIELDS,
    "P": fields.WORKER_FIELDS,
    "E": fields.ERROR_FIELDS,
}
"""Letters for groups of fields in log events. A run's group includes a task's, so it comes first."""


def queue_settings() -> str:
    """Return every key of a queue's settings."""
    rows = (
        (*_setting(name, setting), "yes" if setting.flat else "no", setting.meaning)
        for name, setting in queue_keys.KEYS.items()
    )
    return table(("Key", "Default", "Accepts", "Also a flat name", "Meaning"), rows)


def queue_settings_in_short() -> str:
    """Return the keys of a queue's settings for the README."""
    rows = ((*_setting(name, setting)[:2], setting.meaning) for name, setting in queue_keys.KEYS.items())
    return table(("Key", "Default", "Meaning"), rows)


def observability_settings() -> str:
    """Return every key of ``PARTISAN_OBSERVABILITY``."""
    rows = ((*_setting(name, setting), setting.meaning) for name, setting in observability.KEYS.items())
    return table(("Key", "Default", "Accepts", "Meaning"), rows)


def schedule_settings() -> str:
    """Return every key of a schedule."""
    rows = ((*_setting(name, setting), setting.meaning) for name, setting in schedule_keys.KEYS.items())
    return table(("Key", "Default", "Accepts", "Meaning"), rows)


def checks() -> str:
    """Return every system check."""
    return table(("Id", "What is wrong"), ((f"`{kind.id}`", kind.meaning) for kind in problems.KINDS))


def log_events() -> str:
    """Return every log event, with letters for groups of fields."""
    rows = (
        (f"`{one.action}`", _level(one), ", ".join(one.by), _named(one.fields), one.when)
        for one in logs.LOG_EVENTS.values()
    )
    return table(("`event.action`", "Level", "By", "Fields in addition to the common ones", "When"), rows)


def log_fields() -> str:
    """Return the common fields and the fields of each letter."""
    groups = {
        "every line": fields.COMMON,
        "**T**, a task": fields.TASK_FIELDS,
        "**R**, a run: **T** and also": fields.RUN_FIELDS[len(fields.TASK_FIELDS) :],
        "**P**, a worker process": fields.WORKER_FIELDS,
        "**E**, an error": fields.ERROR_FIELDS,
    }
    return table(
        ("Where", "Fields"),
        ((where, ", ".join(map(_field, group))) for where, group in groups.items()),
    )


def span_names() -> str:
    """Return every span."""
    rows = (
        (name, f"`{span.operation} {{queue}}`", span.kind.name, span.by, span.relation)
        for name, span in spans.SPANS.items()
    )
    return table(("Span", "Name", "Kind", "Made by", "Parent or links"), rows)


def span_attributes() -> str:
    """Return every attribute of a span."""
    everywhere = tuple(spans.SPANS)
    rows = (
        (
            f"`{attribute.name}`",
            attribute.type.__name__,
            "all" if attribute.on == everywhere else ", ".join(attribute.on),
            attribute.value,
            attribute.when or "always",
        )
        for attribute in spans.ATTRIBUTES
    )
    return table(("Attribute", "Type", "On", "Value", "When"), rows)


def metrics() -> str:
    """Return every metric with the question it answers."""
    return table(
        ("Metric", "Type", "Labels", "From", "Answers", "Help"),
        (
            (
                f"`{metric.name}`",
                metric.kind,
                ", ".join(metric.labels) or "none",
                ", ".join(metric.sources),
                metric.question,
                _help(metric),
            )
            for metric in catalogue.METRICS.values()
        ),
    )


TABLES: Final[Mapping[str, Callable[[], str]]] = {
    "queue-settings": queue_settings,
    "queue-settings-in-short": queue_settings_in_short,
    "observability-settings": observability_settings,
    "schedule-settings": schedule_settings,
    "checks": checks,
    "options": partial(commands.options, commands.START),
    **{name.replace("_", "-"): partial(commands.help_of, name) for name in commands.OTHERS},
    "log-events": log_events,
    "log-fields": log_fields,
    "spans": span_names,
    "span-attributes": span_attributes,
    "metrics": metrics,
}


def _setting(name: str, setting: Setting) -> tuple[str, str, str]:
    default = f"`{setting.default!r}`"
    if callable(setting.default):
        default = COMPUTED_DEFAULTS[name]
    if isinstance(setting.default, tuple):
        default = ", ".join(f"`{value}`" for value in setting.default)
    return f"`{name}`", default, setting.rule.expected


def _level(log_event: LogEvent) -> str:
    levels = sorted({log_event.lowest_level(), log_event.level})
    return " or ".join(logging.getLevelName(level).lower() for level in levels)


def _named(of_event: Iterable[Field]) -> str:
    listed = list(of_event)
    names = [field.name for field in listed]
    said = []
    for letter, group in GROUPS.items():
        members = {field.name for field in group}
        if members.issubset(names):
            named = [field for field in listed if field.name in members]
            listed = [field for field in listed if field.name not in members]
            names = [field.name for field in listed]
            # Some fields of R may be absent in any run. If the slot may be absent, there may be no run.
            no_run = any(field.optional for field in named if field.name == "partisan.worker.slot")
            said.append("**T** or **R**" if no_run else f"**{letter}**")
    return ", ".join([*said, *map(_field, listed)])


def _field(field: Field) -> str:
    return f"`{field.name}` {field.type}{' (may be absent)' if field.optional else ''}"


def _help(metric: Metric) -> str:
    text = metric.help.partition(" From the database,")[0]  # the page has it once, above the table
    buckets = f" Bounds: {', '.join(f'{bound:g}' for bound in metric.buckets)}." if metric.buckets else ""
    return text + buckets
