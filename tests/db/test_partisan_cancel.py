"""The cancel command says what it will do, asks, does it, and reports what it did."""

import sys
from io import StringIO
from typing import Any

import pytest
from django.core.management import call_command
from django.core.management.base import CommandError

from django_partisan import batches
from django_partisan.models import CancelRequest, Task
from tests.support.rows import make_copies

pytestmark = pytest.mark.django_db


def run(*arguments: str) -> str:
    out = StringIO()
    call_command("partisan_cancel", *arguments, stdout=out, no_color=True)
    return out.getvalue()


def task(**values: Any) -> int:
    return Task.objects.create(**{"processor_class": "Letter", **values}).pk


def cancelled() -> set[int]:
    return set(Task.objects.filter(error_reason="cancelled").values_list("pk", flat=True))


def requested() -> set[int]:
    return set(CancelRequest.objects.values_list("pk", flat=True))


@pytest.mark.parametrize(
    ("options", "other"),
    [
        (["--processor", "Letter"], {"processor_class": "Bill"}),
        (["--queue-name", "default"], {"queue_name": "mail"}),
        (["--waiting"], {"status": "in_process"}),
        ([], {"status": "error"}),
        ([], {"status": "finished"}),
    ],
)
def test_cancel_takes_what_its_options_select_and_nothing_else(options, other):
    task_id, _ = task(), task(**other)

    out = run("--yes", "--comment", "sent twice", *options)

    assert cancelled() == {task_id}
    assert requested() == set()
    assert Task.objects.get(pk=task_id).error_message == "sent twice"
    assert out.splitlines()[0].startswith("Cancel 1 wait")
    assert out.splitlines()[-1] == "Cancelled 1 of 1 tasks."


def test_cancel_takes_ids_and_at_most_a_number_the_lowest_first():
    ids = [task() for _ in range(4)]

    run("--yes", "--id", str(ids[0]), str(ids[2]), "--id", str(ids[3]), "--limit", "2")

    assert cancelled() == {ids[0], ids[2]}


def test_cancel_says_how_many_were_cancelled_and_how_many_requested():
    waiting, running = task(), task(status="in_process")

    lines = run("--yes").splitlines()

    assert lines == [
        "Cancel 2 waiting or running tasks.",
        "Cancelled 1 of 2 tasks.",
        "Requested cancellation of tasks that managers hold: 1.",
    ]
    assert (cancelled(), requested()) == ({waiting}, {running})


def test_cancel_of_running_tasks_alone_leaves_waiting_ones():
    task()
    running = task(status="in_process")

    assert run("--yes", "--running").startswith("Cancel 1 running task.\n")
    assert (cancelled(), requested()) == (set(), {running})


def test_cancel_without_tasks_says_so():
    assert run("--processor", "Bill") == "No waiting or running tasks (processor Bill): nothing to cancel.\n"


@pytest.mark.parametrize(("said", "expected"), [("y", 1), ("n", 0), ("", 0)])
def test_cancel_asks_first(said, expected, monkeypatch, capsys):
    task()
    monkeypatch.setattr(sys, "stdin", StringIO(f"{said}\n"))

    out = run()

    assert len(cancelled()) == expected
    assert "Continue? [y/N]" in capsys.readouterr().out
    assert ("Cancelled nothing." in out) is (not expected)


def test_a_dry_run_of_cancel_says_how_many_and_changes_nothing():
    task()

    assert run("--dry-run", "--waiting") == "Would cancel 1 waiting task.\n"
    assert cancelled() == set()


def test_cancel_of_many_shows_progress():
    make_copies(Task.objects.get(pk=task()), batches.BATCH)

    assert run("--yes").splitlines() == [
        "Cancel 501 waiting or running tasks.",
        "500 of 501",
        "501 of 501",
        "Cancelled 501 of 501 tasks.",
    ]


def test_cancel_says_so_if_tasks_have_ended_meanwhile(monkeypatch):
    task()
    task_id = task()

    class Slow:
        """A terminal whose user answers only after one of the tasks has ended."""

        def readline(self) -> str:
            Task.objects.filter(pk=task_id).update(status="finished")
            return "y"

    monkeypatch.setattr(sys, "stdin", Slow())

    *_, number, reason = run().splitlines()

    assert number == "Cancelled 1 of 2 tasks."
    assert reason == "The others have ended in the meantime."


def test_waiting_and_running_exclude_each_other():
    with pytest.raises(CommandError, match="not allowed with"):
        run("--waiting", "--running")
