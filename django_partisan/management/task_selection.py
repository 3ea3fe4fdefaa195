"""Select the tasks on which a command acts: its options, the query, and a description in words."""

import argparse
from collections.abc import Mapping
from typing import Any, Final

from django.db.models import Q

from django_partisan.management.times import MOMENT, moment
from django_partisan.models import Task
from django_partisan.models.task import TaskQuerySet
from django_partisan.outcomes import FAILURE_REASONS, REASONS_TO_NAME
from django_partisan.sql.connection import task_connection

REASONS: Final = tuple(dict.fromkeys((*FAILURE_REASONS, *REASONS_TO_NAME)))
_DESCRIBED: Final = {
    "processor": "processor",
    "queue_name": "queue",
    "reason": "reason",
    "error_type": "error",
    "failed_after": "failed after",
    "failed_before": "failed before",
    "id": "id",
    "limit": "at most",
}


def add_filters(parser: argparse.ArgumentParser) -> None:
    """Add the options that select tasks; a task must match all that are given."""
    group = parser.add_argument_group("tasks", "Which tasks to select; without any of these options, all.")
    group.add_argument(
        "--processor", metavar="NAME", help="only tasks of this processor (its registered name)"
    )
    group.add_argument("--queue-name", "--queue_name", metavar="NAME", help="only tasks of this queue")
    group.add_argument("--id", type=int, nargs="+", action="extend", metavar="ID", help="only these tasks")
    group.add_argument("--limit", type=_number, metavar="N", help="at most N tasks, lowest ids first")


def add_failure_filters(parser: argparse.ArgumentParser) -> None:
    """Add the options that select failed tasks, by how and when they failed."""
    add_filters(parser)
    group = parser.add_argument_group("failures", f"How and when they failed. Write moments in {MOMENT}.")
    group.add_argument("--reason", choices=REASONS, help="only tasks that failed for this reason")
    group.add_argument(
        "--error-type",
        "--error_type",
        metavar="CLASS",
        help="only tasks that failed with this error: the class, with or without its module",
    )
    group.add_argument(
        "--failed-after",
        "--failed_after",
        type=moment,
        metavar="TIME",
        help="only tasks that failed at or after this moment",
    )
    group.add_argument(
        "--failed-before",
        "--failed_before",
        type=moment,
        metavar="TIME",
        help="only tasks that failed before this moment",
    )


def selected(options: Mapping[str, Any]) -> TaskQuerySet:
    """Return the tasks that the options of a command select, ordered by id."""
    tasks: TaskQuerySet = Task.objects.using(task_connection().alias).order_by("pk")
    for option, lookup in (
        ("processor", "processor_class"),
        ("queue_name", "queue_name"),
        ("id", "pk__in"),
        ("reason", "error_reason"),
        ("failed_after", "finished_at__gte"),
        ("failed_before", "finished_at__lt"),
    ):
        if options.get(option) is not None:
            tasks = tasks.filter(**{lookup: options[option]})
    if error_type := options.get("error_type"):
        tasks = tasks.filter(Q(error_type=error_type) | Q(error_type__endswith=f".{error_type}"))
    return tasks


def describe_options(options: Mapping[str, Any]) -> str:
    """Describe in words the options that select tasks, such as ``processor Letter, reason error``."""
    parts = []
    for option, word in _DESCRIBED.items():
        value = options.get(option)
        if value is not None:
            shown = ", ".join(map(str, value)) if isinstance(value, list) else str(value)
            parts.append(f"{word} {shown}")
    return ", ".join(parts)


def _number(text: str) -> int:
    if text.isdecimal() and int(text) > 0:
        return int(text)
    raise argparse.ArgumentTypeError(f"{text!r} is not a number of tasks; expected an integer, at least 1.")
