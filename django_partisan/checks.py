"""System checks of settings, processors, schedules and the database, for ``manage.py check``.

Their ids and hints are in ``config.problems``.
"""

from collections.abc import Iterable, Sequence
from itertools import chain
from typing import Any, Final

from django.apps import AppConfig
from django.core.checks import CheckMessage, Error, Tags, register
from django.core.checks import Warning as CheckWarning

from django_partisan import misspellings, processor_validation, retention, schedule_rows
from django_partisan.config import immediate, observability, queues
from django_partisan.config.problems import NOT_POSTGRESQL, Problem
from django_partisan.exceptions import CannotStart
from django_partisan.schedules import configured
from django_partisan.sql.connection import task_database
from django_partisan.sql.readiness import ensure_postgresql

TAG: Final = "partisan"


@register(TAG)
def check_settings(app_configs: Sequence[AppConfig] | None = None, **kwargs: Any) -> list[CheckMessage]:
    """Check all settings of the library, and the attributes of every processor."""
    found = chain(
        queues.problems(),
        immediate.problems(),
        list(observability.problems()) or observability.shared_ports(),
        processor_validation.problems(),
        configured.problems(),
        misspellings.problems(),
        retention.problems(),
    )
    return _messages(found)


@register(TAG, deploy=True)
def check_deployment(app_configs: Sequence[AppConfig] | None = None, **kwargs: Any) -> list[CheckMessage]:
    """Warn about settings that are for development only; called by ``check --deploy``."""
    return _messages(immediate.problems_of_deployment())


@register(TAG)
def check_database(app_configs: Sequence[AppConfig] | None = None, **kwargs: Any) -> list[CheckMessage]:
    """Warn if the tasks' database is not PostgreSQL; an error would stop ``migrate`` and tests."""
    try:
        ensure_postgresql()
    except CannotStart as error:
        return [CheckWarning(error.problem, hint=error.remedy, id=NOT_POSTGRESQL.id)]
    return []


@register(Tags.database)  # not TAG: with it, Django 6.1 would query the database for "check --tag" too
def check_names_of_schedules(
    app_configs: Sequence[AppConfig] | None = None, databases: Sequence[str] | None = None, **kwargs: Any
) -> list[CheckMessage]:
    """Warn about schedules in the settings that rows made by hand replace; called by ``check --database``."""
    return _messages(schedule_rows.problems_of_names() if task_database() in (databases or ()) else ())


def _messages(problems: Iterable[Problem]) -> list[CheckMessage]:
    return [
        (CheckWarning if problem.kind.is_warning else Error)(
            str(problem), hint=problem.hint, obj=problem.processor_class, id=problem.kind.id
        )
        for problem in problems
    ]
