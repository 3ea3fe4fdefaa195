"""Queries on the pages for operators, and commands marked as run there, can be run."""

import re
import shlex
from datetime import datetime, timezone

import pytest
from django.core.management import call_command
from django.db import connection

from django_partisan.models import Task
from tests.support.consoles import Console, consoles_of
from tests.support.pages import blocks_of, page

OPERATORS_PAGES = ("docs/deploying.md", "docs/troubleshooting.md")
READ_ONLY = re.compile(r"\s*SELECT\b", re.IGNORECASE)
QUERIES = [
    pytest.param(block.text, id=f"{name}:{block.line}")
    for name in (*OPERATORS_PAGES, "docs/runbooks.md")
    for block in blocks_of(page(name))
    if block.kind == "sql"
]
CONSOLES = [
    pytest.param(console, id=f"{name}:{console.line}")
    for name in OPERATORS_PAGES
    for console in consoles_of(page(name))
    if console.is_run
]

pytestmark = pytest.mark.django_db


@pytest.mark.parametrize("query", QUERIES)
def test_each_query_only_reads_and_names_columns_that_exist(query):
    assert READ_ONLY.match(query)

    with connection.cursor() as cursor:
        cursor.execute(query)
        rows = cursor.fetchall()

    assert isinstance(rows, list)


@pytest.mark.parametrize("console", CONSOLES)
def test_each_command_that_is_marked_as_run_ends_with_the_code_that_is_said(console: Console):
    codes = []
    for command in console.commands:
        python, program, name, *arguments = shlex.split(command)
        assert (python, program) == ("python", "manage.py")
        try:
            call_command(name, *arguments)
        except SystemExit as ended:
            codes.append(ended.code)
        else:
            codes.append(0)

    assert codes == [console.exit_code] * len(console.commands)


def test_the_query_for_the_row_shows_the_task_that_is_asked_for():
    Task.objects.create(processor_class="Letter", error_message="no ink")
    Task.objects.create(processor_class="Parcel")
    query = next(block.text for block in blocks_of(page(OPERATORS_PAGES[1])) if block.kind == "sql")

    with connection.cursor() as cursor:
        cursor.execute(query)
        [row] = cursor.fetchall()

    assert row[1:3] == ("default", "new")
    assert row[-1] == "no ink"


def test_the_runbooks_requeue_failed_tasks():
    in_time = datetime(2100, 1, 1, tzinfo=timezone.utc)
    task = Task.objects.create(processor_class="SendMail", status="error", finished_at=in_time)
    consoles = [block.text for block in blocks_of(page("docs/runbooks.md")) if block.kind == "console"]
    [command] = [text for text in consoles if "partisan_requeue --processor SendMail" in text]

    call_command(*shlex.split(command)[3:], "--yes")

    task.refresh_from_db()
    assert task.status == "new"
