"""What is read before a run because the run cannot read it; a failed read must not fail the run."""

from typing import Any

import pytest
from django.db import DatabaseError, Error, connections, transaction

from django_partisan import registry
from django_partisan.functions.run_result import RunTaskResult
from django_partisan.models import Task
from django_partisan.processor import CurrentTask
from django_partisan.sql.connection import task_database
from tests.app import async_tasks
from tests.support.rows import task_row

pytestmark = pytest.mark.django_db(transaction=True)


def result_of_run() -> RunTaskResult:
    """Return the result of a second run, whose row no longer exists."""
    task = async_tasks.look_back
    definition = registry.find(task.module_path)
    assert definition is not None
    row = task_row(1, definition.name, attempts=1)
    return RunTaskResult.of(task, CurrentTask(row, definition, "default"))


def lose_connection() -> None:
    """Close the connection as if a pooler had cut it: Django notices at the next query."""
    connection: Any = connections[task_database()]
    connection.ensure_connection()
    connection.connection.close()


def test_a_run_that_needs_no_database_does_not_fail_for_a_lost_connection():
    result = result_of_run()
    lose_connection()

    result.read()

    assert Task.objects.count() == 0


def test_what_could_not_be_read_is_not_read_again():
    result = result_of_run()
    lose_connection()
    result.read()
    lose_connection()

    result.read()

    with pytest.raises(Error):
        Task.objects.count()
    connections[task_database()].close()


def test_in_a_transaction_the_error_is_raised_that_ended_it():
    result = result_of_run()

    with pytest.raises(DatabaseError, match="does not exist"), transaction.atomic():
        with connections[task_database()].cursor() as cursor:
            cursor.execute("SET LOCAL search_path TO nowhere")
        result.read()
