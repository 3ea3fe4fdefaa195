"""System checks: ``manage.py check`` lists what is wrong with settings and processors.

The ids and hints are in ``config.problems``.
"""

from collections.abc import Iterable, Sequence
from typing import Any, Final

from django.apps import AppConfig
from django.core.checks import CheckMessage, Error, register
from django.core.checks import Warning as CheckWarning

from django_partisan import processor_validation
from django_partisan.config import observability, queues
from django_partisan.config.problems import NOT_POSTGRESQL, SHARED_PORT, Problem
from django_partisan.exceptions import CannotStart
from django_partisan.sql.readiness import ensure_postgresql

TAG: Final = "partisan"


@register(TAG)
def check_queues(app_configs: Sequence[AppConfig] | None = None, **kwargs: Any) -> list[CheckMessage]:
    """Check the settings of queues."""
    return _messages(queues.problems())


@register(TAG)
def check_observability(app_configs: Sequence[AppConfig] | None = None, **kwargs: Any) -> list[CheckMessage]:
    """Check the settings of logs, spans and metrics."""
    return _messages(list(observability.problems()) or observability.shared_ports())


@register(TAG)
def check_processors(app_configs: Sequence[AppConfig] | None = None, **kwargs: Any) -> list[CheckMessage]:
    """Check the attributes of every registered processor."""
    return _messages(processor_validation.problems())


@register(TAG)
def check_database(app_configs: Sequence[AppConfig] | None = None, **kwargs: Any) -> list[CheckMessage]:
    """Check that the tasks' database is PostgreSQL."""
    try:
        ensure_postgresql()
    except CannotStart as error:
        return [Error(error.problem, hint=error.cure, id=NOT_POSTGRESQL.id)]
    return []


def _messages(problems: Iterable[Problem]) -> list[CheckMessage]:
    return [
        (CheckWarning if problem.kind is SHARED_PORT else Error)(
            str(problem), hint=problem.hint, obj=problem.processor_class, id=problem.kind.id
        )
        for problem in problems
    ]
