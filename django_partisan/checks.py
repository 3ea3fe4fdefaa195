"""System checks: wrong settings are told by ``manage.py check``, each with an id and a cure."""

from collections.abc import Iterator, Sequence
from typing import Any, Final

from django.apps import AppConfig
from django.core.checks import CheckMessage, Error, register
from django.core.checks import Warning as CheckWarning
from django.db import connections

from django_partisan import registry
from django_partisan.config import observability, queues
from django_partisan.config.queues import Problem
from django_partisan.sql.connection import task_database

TAG: Final = "partisan"

SHAPE: Final = "partisan.E001"
QUEUE_NAME: Final = "partisan.E002"
UNKNOWN_KEY: Final = "partisan.E003"
WRONG_VALUE: Final = "partisan.E004"
MIN_ABOVE_MAX: Final = "partisan.E005"
OBSERVABILITY: Final = "partisan.E006"
DATABASE: Final = "partisan.E007"
UNKNOWN_QUEUE: Final = "partisan.E008"
SHARED_PORT: Final = "partisan.W001"

_OF_QUEUES: Final = {
    queues.WRONG_SHAPE: (SHAPE, "Write PARTISAN_CONFIG = {'default': {'WORKERS_COUNT': 4}}, for example."),
    queues.WRONG_QUEUE_NAME: (QUEUE_NAME, "Name each queue with a short string."),
    queues.UNKNOWN_KEY: (UNKNOWN_KEY, "Correct the key, or remove it."),
    queues.WRONG_VALUE: (WRONG_VALUE, "Correct the value, or remove the setting to have its default."),
    queues.MIN_ABOVE_MAX: (MIN_ABOVE_MAX, "Lower MIN_QUEUE_SIZE or raise MAX_QUEUE_SIZE of this queue."),
}


@register(TAG)
def check_settings(app_configs: Sequence[AppConfig] | None = None, **kwargs: Any) -> list[CheckMessage]:
    """Tell what is wrong with the settings of queues."""
    messages: list[CheckMessage] = []
    for problem in queues.problems():
        identity, hint = _OF_QUEUES[problem.kind]
        messages.append(Error(str(problem), hint=hint, id=identity))
    return messages


@register(TAG)
def check_observability(app_configs: Sequence[AppConfig] | None = None, **kwargs: Any) -> list[CheckMessage]:
    """Tell what is wrong with the settings of logs, spans and metrics."""
    wrong = list(observability.problems())
    if wrong:
        return list(map(_of_observability, wrong))
    hint = (
        "One host can serve a port once. Give METRICS_PORT as a dict of queue names and ports, or say "
        "--metrics-port; if the queues have hosts of their own, silence this check."
    )
    return [CheckWarning(str(problem), hint=hint, id=SHARED_PORT) for problem in observability.shared_ports()]


@register(TAG)
def check_database(app_configs: Sequence[AppConfig] | None = None, **kwargs: Any) -> list[CheckMessage]:
    """Tell if the tasks are to be kept in a database that is not PostgreSQL."""
    alias = task_database()
    vendor = connections[alias].vendor
    if vendor == "postgresql":
        return []
    return [
        Error(
            f"The tasks' database {alias!r} is {vendor}; django-partisan needs PostgreSQL.",
            hint=(
                "Set its ENGINE to 'django.db.backends.postgresql', or have a database router send "
                "the app 'django_partisan' to a database that is PostgreSQL."
            ),
            id=DATABASE,
        )
    ]


@register(TAG)
def check_processors(app_configs: Sequence[AppConfig] | None = None, **kwargs: Any) -> list[CheckMessage]:
    """Tell which processors name a queue that the settings do not define."""
    return list(_strayed())


def _of_observability(problem: Problem) -> CheckMessage:
    hint = f"Correct it in {observability.SETTING}, or remove it to have the default."
    return Error(str(problem), hint=hint, id=OBSERVABILITY)


def _strayed() -> Iterator[CheckMessage]:
    known = queues.queue_names()
    listed = ", ".join(map(repr, known))
    for name, processor_class in registry.registered().items():
        queue = processor_class.QUEUE_NAME
        if queue not in known:
            yield Error(
                f"The queue {queue!r} of processor {name} is unknown; known: {listed}.",
                hint="Add the queue to PARTISAN_CONFIG, or correct the processor's QUEUE_NAME.",
                obj=processor_class,
                id=UNKNOWN_QUEUE,
            )
