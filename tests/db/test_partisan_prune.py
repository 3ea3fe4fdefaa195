"""The prune command says what it will do, asks, does it, and reports what it did."""

import sys
import time
from collections.abc import Callable
from datetime import timedelta
from io import StringIO
from typing import Any

import pytest
from django.core.management import call_command
from django.core.management.base import CommandError
from django.utils import timezone

from django_partisan import registry
from django_partisan.models import Task
from tests.support.registry import Idle
from tests.support.rows import make_copies

pytestmark = pytest.mark.django_db

OLD = ("--yes", "--status", "finished", "failed", "--older-than", "7d")


@pytest.fixture(autouse=True)
def _no_processors(own_registry: None) -> None:
    """Remove processors of other tests, which could set retention times."""


@pytest.fixture
def answer(monkeypatch) -> Callable[[str | None], None]:
    """Return a function that sets the terminal's input; ``None`` means that the input ends."""

    def set_answer(text: str | None) -> None:
        monkeypatch.setattr(sys, "stdin", StringIO("" if text is None else f"{text}\n"))

    return set_answer


def run(*options: str) -> str:
    out = StringIO()
    call_command("partisan_prune", *options, stdout=out, no_color=True)
    return out.getvalue()


def ended(days: float = 30, **values: Any) -> int:
    moment = timezone.now() - timedelta(days=days)
    task = Task.objects.create(
        **{"processor_class": "Letter", "status": "finished", "finished_at": moment, **values}
    )
    Task.objects.filter(pk=task.pk).update(created_at=moment, updated_at=moment)
    return task.pk


def left() -> set[int]:
    return set(Task.objects.values_list("pk", flat=True))


def test_without_options_it_deletes_what_the_settings_say_after_it_has_asked(answer, settings):
    settings.PARTISAN_CONFIG = {"default": {}, "mail": {"KEEP_FAILED_SECONDS": 3600}}
    ended(), ended(queue_name="mail"), ended(queue_name="mail", status="error")
    kept = {ended(status="error"), ended(13), ended(status="new", finished_at=None)}
    answer("y")

    out = run()

    counts = "  default: 1 finished\n  mail: 1 failed\n  mail: 1 finished\n"
    assert out == f"Prune 3 tasks:\n{counts}Pruned 3 tasks:\n{counts}"
    assert left() == kept


def test_whoever_does_not_agree_deletes_nothing(answer):
    task = ended()
    answer("")

    assert run().endswith("Pruned nothing.\n")
    answer(None)
    with pytest.raises(CommandError, match=r"Add --yes\."):
        run()

    assert left() == {task}


def test_a_dry_run_only_counts_and_nothing_is_said_of_no_tasks():
    assert run("--dry-run") == "Would prune 0 tasks.\n"
    assert run() == "Prune 0 tasks.\n"
    task = ended()

    out = run("--dry-run", "--queue-name", "default", "--processor", "Letter")

    assert out == "Would prune 1 task:\n  default: 1 finished\n"
    assert left() == {task}


@pytest.mark.parametrize(
    ("options", "other"),
    [
        (["--processor", "Letter"], {"processor_class": "Bill"}),
        (["--queue-name", "default"], {"queue_name": "mail"}),
        (["--status", "finished"], {"status": "error"}),
        (["--older-than", "8d"], {"days": 7}),
        (["--without-finished-at"], {"finished_at": timezone.now()}),
    ],
)
def test_it_deletes_what_its_options_select_and_nothing_else(options, other):
    values: dict[str, Any] = {"finished_at": None} if "--without-finished-at" in options else {}
    chosen, kept = ended(**values), ended(**other)

    run(*OLD, *options)

    assert left() == {kept}
    assert chosen != kept


@pytest.mark.parametrize("waiting", [{"status": "new"}, {"status": "in_process"}])
def test_what_waits_or_runs_is_never_deleted(waiting):
    task = ended(finished_at=None, **waiting)

    run(*OLD)
    run(*OLD, "--without-finished-at")

    assert left() == {task}


def test_where_the_settings_keep_everything_there_is_nothing_to_count(settings):
    settings.PARTISAN_CONFIG = {"default": {"KEEP_FINISHED_SECONDS": None}}
    ended()

    assert run("--yes") == "The settings keep these tasks forever: nothing to prune.\n"
    assert run("--yes", "--status", "failed") == run("--yes")


@pytest.mark.parametrize(
    ("configured", "options", "is_deleted"),
    [
        ({"mail": {}}, [], False),
        ({"mail": {}}, ["--queue-name", "default"], True),
        ({"mail": {}}, OLD, True),
        ({}, [], True),
    ],
    ids=["not named", "chosen", "by age", "the only queue"],
)
def test_rows_of_a_queue_that_the_settings_do_not_name_are_deleted_only_when_asked_for(
    settings, configured, options, is_deleted
):
    settings.PARTISAN_CONFIG, settings.TASKS = configured, {}
    unnamed = ended()
    of_mail = ended(queue_name="mail")

    run("--yes", *options)

    assert (unnamed not in left()) is is_deleted
    assert (of_mail in left()) is ("--queue-name" in options or not configured)


@pytest.mark.parametrize(
    ("configured", "attributes", "problem"),
    [
        ({"default": {"KEEP_FINISHED_SECONDS": -1}}, {}, r"KEEP_FINISHED_SECONDS'\] is -1; expected"),
        ({}, {"KEEP_FINISHED_SECONDS": -1}, "KEEP_FINISHED_SECONDS is -1; expected"),
    ],
    ids=["queue", "processor"],
)
def test_settings_that_no_manager_would_start_with_delete_nothing(settings, configured, attributes, problem):
    settings.PARTISAN_CONFIG = configured
    registry.register(type("Letter", (Idle,), attributes))
    task = ended(0)

    with pytest.raises(CommandError, match=problem):
        run("--yes")

    assert left() == {task}


def test_names_of_queues_are_shown_without_what_a_terminal_would_obey():
    ended(queue_name="mail\x1b[2J\nPruned")

    assert run("--dry-run", *OLD[1:]) == "Would prune 1 task:\n  mail [2J Pruned: 1 finished\n"


def many(number: int) -> None:
    moment = timezone.now() - timedelta(days=30)
    first = Task.objects.create(processor_class="Letter", status="finished", finished_at=moment)
    Task.objects.update(created_at=moment)
    make_copies(first, number - 1)


def test_many_are_deleted_in_batches_and_not_faster_than_asked_for(monkeypatch):
    many(1200)
    last = max(left())
    clock = [1000.0]
    monkeypatch.setattr(time, "monotonic", lambda: clock[0])
    monkeypatch.setattr(time, "sleep", lambda seconds: clock.append(clock.pop() + seconds))

    *lines, total, of_queue = run(*OLD, "--rows-per-second", "100").splitlines()

    assert clock == [1010.0], "after the second batch; after the last there is nothing to wait for"
    ids = [int(line.partition("at id ")[2].partition(" ")[0]) for line in lines]
    assert lines == [
        f"Pruned 1000 tasks; at id {ids[0]} of {last}",
        f"Pruned 1200 tasks; at id {last} of {last}",
    ]
    assert (total, of_queue) == ("Pruned 1200 tasks:", "  default: 1200 finished")


def test_ctrl_c_says_what_was_done_so_far(monkeypatch):
    many(600)

    def interrupt(seconds: float) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(time, "sleep", interrupt)
    out = StringIO()

    with pytest.raises(SystemExit) as ended_with:
        call_command("partisan_prune", *OLD, stdout=out)

    assert ended_with.value.code == 130
    assert out.getvalue() == "Interrupted. Pruned 500 tasks so far:\n  default: 500 finished\n"
    assert Task.objects.count() == 100


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (["--older-than", "7d"], "--older-than needs --status: finished, failed, or both."),
        (["--without-finished-at"], "--without-finished-at needs --older-than"),
        (["--rows-per-second", "0"], "expected an integer, at least 1"),
        (["--older-than", "soon"], "'soon' is not a duration"),
    ],
)
def test_wrong_options_are_refused_with_the_remedy(options, message):
    with pytest.raises(CommandError, match=message):
        run(*options)
