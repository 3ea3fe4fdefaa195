"""Enqueue one task by hand."""

import argparse
import json
from dataclasses import replace
from datetime import datetime, timedelta
from difflib import get_close_matches
from typing import Any, Final

from django.core.management.base import CommandError
from django.utils import timezone

from django_partisan import registry
from django_partisan.admin_formatting import moment as shown_moment
from django_partisan.definitions import TaskDefinition
from django_partisan.enqueueing import Call, enqueue
from django_partisan.exceptions import PartisanError
from django_partisan.expiry import AS_DEFINED
from django_partisan.management.operator_command import OperatorCommand
from django_partisan.management.times import DURATION, MOMENT, duration, moment
from django_partisan.models import Task

EPILOG: Final = f"""\
Write moments in {MOMENT}.
A duration is {DURATION}.

examples:
  manage.py partisan_enqueue SendMail --kwargs '{{"to": "ada@example.org"}}'
  manage.py partisan_enqueue Cleanup --args '[30, "orders"]' --at 2026-11-30T03:00
  manage.py partisan_enqueue Cleanup --at 2h --expires 30m --priority 1
"""


class Command(OperatorCommand):
    """Enqueue one task; see ``--help``."""

    help = "Enqueue one task, like delay(). If a duplicate is already waiting, nothing is enqueued."
    epilog = EPILOG

    def add_arguments(self, parser: argparse.ArgumentParser) -> None:
        """Add the options for the processor, its arguments, and the time."""
        parser.add_argument("name", metavar="NAME", help="registered name of the processor")
        parser.add_argument(
            "--args",
            type=_array,
            default=[],
            dest="task_args",
            metavar="JSON",
            help="positional arguments, as a JSON array",
        )
        parser.add_argument(
            "--kwargs",
            type=_object,
            default={},
            dest="task_kwargs",
            metavar="JSON",
            help="keyword arguments, as a JSON object",
        )
        parser.add_argument(
            "--at", type=_start, metavar="TIME", help="earliest start: a moment, or a duration from now"
        )
        parser.add_argument(
            "--expires",
            type=_expiry,
            default=AS_DEFINED,
            metavar="TIME",
            help="latest start: a moment, or a duration from when the task is due",
        )
        parser.add_argument(
            "--priority",
            type=int,
            metavar="N",
            help="priority; lower numbers run first (default: the processor's priority)",
        )
        parser.add_argument(
            "--queue-name",
            "--queue_name",
            metavar="NAME",
            help="queue of the task (default: the processor's queue)",
        )

    def handle(self, *args: Any, **options: Any) -> None:
        """Enqueue the task and print its id."""
        definition = registry.find_or_import(options["name"])
        if definition is None:
            raise CommandError(_unknown(options["name"]))
        task = _enqueue(definition, options)
        if task.is_duplicate:
            self.stdout.write(f"Task {task.pk} with these arguments is already waiting; enqueued nothing.")
            return
        due_at = shown_moment(task.execute_after)
        details = f"queue {task.queue_name!r}, priority {task.priority}, due at {due_at}"
        self.stdout.write(self.style.SUCCESS(f"Enqueued task {task.pk}: {task.processor_class}, {details}."))


def _enqueue(definition: TaskDefinition, options: dict[str, Any]) -> Task:
    args, kwargs, queue = options["task_args"], options["task_kwargs"], options["queue_name"]
    try:
        if isinstance(definition.source, type):
            processor = definition.source(*args, **kwargs)
            task: Task = processor.delay(
                priority=options["priority"],
                execute_after=options["at"],
                queue_name=queue,
                expires=options["expires"],
            )
        else:
            definition = replace(definition, queue=queue or definition.queue)
            call = Call(definition, tuple(args), kwargs)
            task = enqueue(call, options["priority"], options["at"], options["expires"])
    except (TypeError, ValueError, PartisanError) as error:
        raise CommandError(f"{definition.name} cannot be enqueued: {error}") from error
    return task


def _unknown(name: str) -> str:
    known = sorted(registry.definitions)
    close = get_close_matches(name, known, 1)
    remedy = f"Did you mean {close[0]}?" if close else f"Known: {', '.join(known) or 'none'}."
    return f"No processor is registered as {name!r}. {remedy}"


def _array(text: str) -> list[Any]:
    return list(_json(text, list, "an array, such as '[1, \"two\"]'"))


def _object(text: str) -> dict[str, Any]:
    return dict(_json(text, dict, "an object, such as '{\"to\": 1}'"))


def _json(text: str, kind: type, expected: str) -> Any:
    try:
        value = json.loads(text)
    except ValueError as error:
        raise argparse.ArgumentTypeError(f"{text!r} is not JSON ({error}); expected {expected}.") from error
    if not isinstance(value, kind):
        raise argparse.ArgumentTypeError(f"{text!r} is JSON of another type; expected {expected}.")
    return value


def _start(text: str) -> datetime:
    try:
        return timezone.now() + timedelta(seconds=duration(text))
    except argparse.ArgumentTypeError:
        return moment(text)


def _expiry(text: str) -> float | datetime:
    try:
        return duration(text)
    except argparse.ArgumentTypeError:
        return moment(text)
