"""The requeue command says what it will do, asks, does it, and reports what it did."""

import sys
from collections.abc import Callable
from datetime import datetime, timedelta
from datetime import timezone as datetime_timezone
from io import StringIO
from typing import Any

import pytest
from django.core.management import call_command
from django.core.management.base import CommandError
from django.utils import timezone

from django_partisan import batches
from django_partisan.models import Task
from tests.support.rows import make_copies

pytestmark = pytest.mark.django_db

NOON = "2026-11-29T12:00Z"


@pytest.fixture
def answer(monkeypatch) -> Callable[[str | None], None]:
    """Return a function that sets the terminal's input; ``None`` means that the input ends."""

    def set_answer(text: str | None) -> None:
        monkeypatch.setattr(sys, "stdin", StringIO("" if text is None else f"{text}\n"))

    return set_answer


def run(*arguments: str) -> str:
    out = StringIO()
    call_command(*arguments, stdout=out, no_color=True)
    return out.getvalue()


def failed(**values: Any) -> int:
    task = Task.objects.create(
        **{
            "processor_class": "Letter",
            "status": "error",
            "error_reason": "error",
            "error_type": "app.errors.Lost",
            "finished_at": timezone.now(),
            **values,
        }
    )
    return task.pk


def status(task_id: int) -> str:
    return Task.objects.get(pk=task_id).status


NOON_MOMENT = datetime(2026, 11, 29, 12, tzinfo=datetime_timezone.utc)


@pytest.mark.parametrize(
    ("options", "other"),
    [
        (["--processor", "Letter"], {"processor_class": "Bill"}),
        (["--queue-name", "default"], {"queue_name": "mail"}),
        (["--reason", "error"], {"error_reason": "worker_lost"}),
        (["--error-type", "app.errors.Lost"], {"error_type": "app.errors.Found"}),
        (["--error-type", "Lost"], {"error_type": "app.errors.NotLost"}),
        (["--failed-after", NOON], {"finished_at": NOON_MOMENT - timedelta(seconds=1)}),
        (["--failed-before", "2100-01-01"], {"finished_at": None}),
    ],
)
def test_requeue_takes_what_its_options_select_and_nothing_else(options, other):
    chosen, left = failed(), failed(**other)

    out = run("partisan_requeue", "--yes", *options)

    assert (status(chosen), status(left)) == ("new", "error")
    assert out.splitlines()[0].startswith("Requeue 1 failed task (")
    assert out.splitlines()[-1] == "Requeued 1 of 1 tasks."


def test_requeue_takes_ids_and_at_most_a_number_the_lowest_first():
    ids = [failed() for _ in range(4)]

    run("partisan_requeue", "--yes", "--id", str(ids[0]), str(ids[2]), "--id", str(ids[3]), "--limit", "2")

    assert [status(task_id) for task_id in ids] == ["new", "error", "new", "error"]


def test_requeue_takes_cancelled_tasks_only_if_they_or_their_reason_are_named():
    first, second = failed(error_reason="cancelled"), failed(error_reason="cancelled")

    assert run("partisan_requeue", "--yes") == "No failed tasks: nothing to requeue.\n"
    run("partisan_requeue", "--yes", "--id", str(first))
    assert (status(first), status(second)) == ("new", "error")
    run("partisan_requeue", "--yes", "--reason", "cancelled")
    assert status(second) == "new"


@pytest.mark.parametrize(("said", "expected"), [("y", "new"), ("Yes", "new"), ("n", "error"), ("", "error")])
def test_requeue_asks_first(said, expected, answer, capsys):
    task_id = failed()
    answer(said)

    out = run("partisan_requeue", "--comment", "the net is back")

    assert status(task_id) == expected
    assert "Continue? [y/N]" in capsys.readouterr().out
    assert ("Requeued nothing." in out) is (expected == "error")


def test_requeue_without_a_terminal_names_the_option(answer):
    failed()
    answer(None)

    with pytest.raises(CommandError, match="Add --yes"):
        run("partisan_requeue")


def test_a_dry_run_of_requeue_says_how_many_and_changes_nothing():
    task_id = failed()

    out = run("partisan_requeue", "--dry-run", "--processor", "Letter", "--failed-after", NOON)

    which = "processor Letter, failed after 2026-11-29 12:00:00+00:00"
    assert out == f"Would requeue 1 failed task ({which}).\n"
    assert status(task_id) == "error"


def test_requeue_of_many_shows_progress(monkeypatch):
    make_copies(Task.objects.get(pk=failed()), batches.BATCH)

    lines = run("partisan_requeue", "--yes").splitlines()

    assert lines == [
        "Requeue 501 failed tasks.",
        "500 of 501",
        "501 of 501",
        "Requeued 501 of 501 tasks.",
    ]


def test_requeue_says_so_if_tasks_are_not_failed_any_more(monkeypatch):
    failed()
    task_id = failed()

    class Slow:
        """A terminal whose user answers only after another user has requeued one of the tasks."""

        def readline(self) -> str:
            Task.objects.filter(pk=task_id).update(status="new")
            return "y"

    monkeypatch.setattr(sys, "stdin", Slow())

    *_, number, reason = run("partisan_requeue").splitlines()

    assert number == "Requeued 1 of 2 tasks."
    assert reason.startswith("The others are no longer failed")


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (["--limit", "0"], "at least 1"),
        (["--failed-after", "yesterday"], "'yesterday' is not a moment; expected ISO 8601"),
        (["--reason", "bored"], "invalid choice: 'bored'"),
    ],
)
def test_wrong_options_of_requeue_are_refused_with_what_is_allowed(options, message):
    with pytest.raises(CommandError, match=message):
        run("partisan_requeue", *options)
