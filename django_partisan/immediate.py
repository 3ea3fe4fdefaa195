"""Immediate mode: with ``PARTISAN_IMMEDIATE``, the process that enqueues a task runs it after the commit."""

from collections.abc import Sequence
from typing import Final

from django.db import transaction
from django.db.backends.base.base import BaseDatabaseWrapper
from django.utils.module_loading import import_string

from django_partisan.config.immediate import RAISE

# Imported only when needed: a process that only enqueues must not import the engine.
_RUN: Final = "django_partisan.engine.immediate.run_immediately"


def run_after_commit(connection: BaseDatabaseWrapper, task_ids: Sequence[int], mode: bool | str) -> None:
    """Run tasks after they are committed; do nothing if the caller has turned autocommit off.

    Django logs errors, unless ``mode`` is ``'raise'``: then the commit raises them.
    """
    if not (connection.in_atomic_block or connection.get_autocommit()):
        return  # Django does not notice the commit: the tasks wait for a manager
    raise_errors = mode == RAISE
    run = import_string(_RUN)
    transaction.on_commit(
        lambda: run(task_ids, raise_errors), using=connection.alias, robust=not raise_errors
    )
