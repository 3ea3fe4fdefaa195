"""The status command: its output in each format, and how it watches."""

import json
import re
import sys
from collections.abc import Callable, Iterator
from datetime import datetime, timedelta
from io import StringIO
from typing import Any
from uuid import uuid4

import pytest
from django.core.management import call_command
from django.core.management.base import CommandError
from django.db import connection
from django.test import override_settings
from django.utils import timezone
from django.utils.timezone import override
from prometheus_client.parser import text_string_to_metric_families

from django_partisan import __version__
from django_partisan.management.commands import partisan_status
from django_partisan.models import ManagerLease, Pause, Task
from django_partisan.sql.claiming import ID
from django_partisan.sql.connection import execute
from django_partisan.sql.manager_state import Run, manager_state, publish
from django_partisan.sql.overview import QUEUES_AT_MOST, queues_in_use
from tests.support.pages import blocks_of, code_in, page
from tests.support.rows import claimed, insert, insert_many, make_copies, register_manager

pytestmark = pytest.mark.django_db(transaction=True)


@pytest.fixture(autouse=True)
def utc() -> Iterator[None]:
    with override("UTC"):
        yield


def run(*arguments: str, out: StringIO | None = None) -> str:
    out = out or StringIO()
    call_command("partisan_status", *arguments, stdout=out)
    return out.getvalue()


def failed(**values: Any) -> Task:
    return Task.objects.create(
        **{
            "processor_class": "Bill",
            "status": "error",
            "error_reason": "error",
            "error_type": "app.errors.Lost",
            "error_message": "no ink",
            "finished_at": timezone.now() - timedelta(minutes=5),
            **values,
        }
    )


@pytest.fixture
def busy_shop() -> int:
    """Two queues with tasks of every kind, a manager that runs one, and a dead one; return that task's id."""
    manager = register_manager()
    [row, _] = claimed(2, manager=manager)
    insert_many(3)
    insert(execute_after=timezone.now() + timedelta(hours=1))
    Task.objects.create(processor_class="Gone", held="unregistered")
    for seconds in range(3):
        failed(finished_at=timezone.now() - timedelta(minutes=5, seconds=seconds))
    failed(error_reason="cancelled", error_message="on request")
    insert("mail")
    dead = register_manager("mail", host="web2")
    ManagerLease.objects.filter(pk=dead).update(heartbeat_at=timezone.now() - timedelta(minutes=2))
    Pause.objects.create(queue_name="mail", comment="no paper", by="ada")
    runs = [Run(row[ID], "Letter", 4250, 1, 12.0)]
    publish(connection, manager, manager_state(runs, {"busy": 1, "workers_configured": 2}, is_draining=False))
    return row[ID]


def test_the_table_shows_queues_managers_runs_and_failures_in_80_columns(busy_shop):
    lines = run().splitlines()

    assert all(len(line) <= 80 for line in lines)
    assert all(line.isprintable() for line in lines)
    queues = {line.split()[0]: line.split() for line in lines if line.startswith(("default ", "mail "))}
    assert queues["default"][:7] == ["default", "3", "1", "2", "1", "3", "1"]
    assert queues["mail"][:7] == ["mail", "1", "0", "0", "0", "0", "0"]
    assert "  paused by ada: no paper" in lines
    assert "  no live manager serves it" in lines
    assert "  held: 1 of Gone (unregistered)" in lines
    assert any(line.startswith("  default  elsewhere:17  1 of 2 workers busy, up ") for line in lines)
    assert any(line.startswith("  mail  web2:17  dead: no heartbeat for 2 min") for line in lines)
    [of_run] = [line for line in lines if line.startswith("    task ")]
    assert of_run.split()[:5] == ["task", str(busy_shop), "Letter", "pid", "4250"]
    [kind] = [line for line in lines if line.startswith("3 ")]
    assert kind.split()[:4] == ["3", "Bill", "error", "Lost"]
    assert sum("Lost: no ink" in line for line in lines) == 3
    assert not any("on request" in line for line in lines)


def test_failures_are_shown_however_many_tasks_were_cancelled_since():
    failed(processor_class="Invoice")
    now = timezone.now()
    cancelled = Task.objects.create(
        processor_class="Bill", status="error", error_reason="cancelled", finished_at=now
    )
    make_copies(cancelled, 1000)

    lines = run().splitlines()

    assert any(line.startswith("1      Invoice") for line in lines)
    assert any("Invoice  Lost: no ink" in line for line in lines)


def test_a_queue_with_many_managers_hides_no_other():
    ManagerLease.objects.bulk_create(
        ManagerLease(queue_name=queue, host="web1", pid=1, lock_name=uuid4(), lease_seconds=30)
        for queue in ["default"] * QUEUES_AT_MOST + ["idle"]
    )

    assert "idle" in queues_in_use(connection)


def test_an_empty_installation_has_one_queue_and_no_manager():
    lines = run().splitlines()

    assert lines[4].split() == ["default", "0", "0", "0", "0", "0", "0", "-"]
    assert lines[-2:] == ["Managers", "  none"]


def test_one_queue_alone_can_be_shown(busy_shop):
    out = run("--queue-name", "mail")

    assert "web2" in out
    assert not {"default", "elsewhere", "Bill"} & set(out.split())


def test_an_unknown_queue_is_refused_with_those_that_there_are(busy_shop):
    with pytest.raises(CommandError, match=r"No queue 'male' .* in use; queues here: default, mail"):
        run("--queue-name", "male")


def test_names_and_messages_cannot_command_the_terminal():
    task = failed(processor_class="Bill\x1b[2J", error_message="no\x1b]0;ink\x07\nand no paper " + "x" * 500)

    out = run()

    assert not set(out + run("--task", str(task.pk))) & {"\x1b", "\x07"}
    assert all(len(line) <= 80 for line in out.splitlines())


STRANGE = "no\x1b]0;ink\x07 \x7f\u2028\x85\x9b2J ć"
"""Characters that end lines in Python and that a terminal interprets, in ASCII and beyond."""


def test_json_is_a_line_for_each_key_and_cannot_command_the_terminal():
    task = failed(processor_class=STRANGE, error_message=STRANGE)

    document, why = run("--format", "json"), run("--task", str(task.pk), "--format", "json")

    assert all(line.isprintable() and line.isascii() for line in (document + why).split("\n"))
    [error] = json.loads(document)["errors"]
    assert (error["processor"], error["message"]) == (STRANGE, STRANGE)
    assert STRANGE in json.loads(why)["why"]


def test_prometheus_gets_names_as_they_are_and_a_terminal_does_not():
    Task.objects.create(processor_class=STRANGE, held="unregistered")

    text = run("--format", "prometheus")
    shown = run("--format", "prometheus", out=Screen(0, is_terminal=True))

    assert f'processor="{STRANGE}"' in text
    assert text.endswith("\n")
    assert not text.endswith("\n\n")
    assert all(line.isprintable() for line in shown.split("\n"))
    assert len(shown.split("\n")) == len(text.split("\n"))


def test_names_that_are_one_label_are_one_series():
    names = [f"{'x' * 200}{number}" for number in range(2)]
    manager = register_manager()
    rows = claimed(2, manager=manager)
    runs = [Run(row[ID], name, 1, 0, 10.0 * row[ID]) for row, name in zip(rows, names, strict=True)]
    publish(connection, manager, manager_state(runs, {}, is_draining=False))
    for name in names:
        Task.objects.create(processor_class=name, held="unregistered")

    samples = [
        (sample.name, sample.value)
        for family in text_string_to_metric_families(run("--format", "prometheus"))
        for sample in family.samples
        if sample.labels.get("processor") == "x" * 200
    ]

    assert [name for name, _ in samples] == [
        "partisan_queue_held_tasks",
        "partisan_tasks_in_progress",
        "partisan_oldest_run_age_seconds",
    ]
    assert [value for _, value in samples[:2]] == [2, 2]
    assert samples[2][1] >= 10 * rows[1][ID]


def test_of_many_runs_and_kinds_the_first_are_shown():
    manager = register_manager()
    rows = claimed(12, manager=manager)
    publish(
        connection,
        manager,
        manager_state([Run(row[ID], "L" * 60, 1, 0, row[ID]) for row in rows], {}, is_draining=True),
    )
    ManagerLease.objects.update(version=None)
    for number in range(12):
        failed(processor_class=f"Kind{number}", error_type="")

    lines = run().splitlines()

    assert sum(line.startswith("    task ") for line in lines) == 10
    assert "    and 2 more" in lines
    assert any("elsewhere:17  draining, up " in line and "an earlier version" in line for line in lines)
    assert sum(line.startswith("1 ") for line in lines) == 10
    assert sum("  error: no ink" in line for line in lines) == 5


def test_a_manager_of_an_earlier_version_says_that_its_runs_are_unknown():
    register_manager()

    assert "runs unknown" in run()


def test_a_worker_without_its_manager_is_shown_as_one():
    register_manager()
    ManagerLease.objects.update(state={"role": "worker"})

    [line] = [line for line in run().splitlines() if "elsewhere" in line]

    assert "worker without its manager, up" in line
    assert "unknown" not in line


def test_json_has_the_same_figures(busy_shop):
    document = json.loads(run("--format", "json"))

    default, mail = document["queues"]
    assert default == {
        "queue": "default",
        "due": 3,
        "scheduled": 1,
        "in_process": 2,
        "running": 1,
        "failed": 3,
        "held": 1,
        "oldest_due_seconds": default["oldest_due_seconds"],
        "managers": 1,
        "paused": None,
        "held_kinds": [{"processor": "Gone", "reason": "unregistered", "tasks": 1}],
    }
    assert mail["paused"] == {"until": None, "comment": "no paper", "by": "ada"}
    live, dead = document["managers"]
    assert (live["role"], live["alive"], live["draining"], live["pid"]) == ("manager", True, False, 17)
    [of_run] = live["runs"]
    assert (of_run["task"], of_run["processor"], of_run["pid"], of_run["worker"]) == (
        busy_shop,
        "Letter",
        4250,
        1,
    )
    assert 12 <= of_run["seconds"] < 100
    assert (dead["alive"], dead["runs"]) == (False, None)
    [kind] = document["failing"]
    assert (kind["queue"], kind["processor"], kind["tasks"]) == ("default", "Bill", 3)
    assert [error["message"] for error in document["errors"]] == ["no ink"] * 3


def test_the_end_of_a_pause_is_shown():
    until = timezone.now().replace(microsecond=0) + timedelta(hours=1)
    Pause.objects.create(queue_name="default", until=until)

    document = json.loads(run("--format", "json"))

    assert document["queues"][0]["paused"]["until"] == until.isoformat()
    assert f"  paused until {until:%Y-%m-%d %H:%M:%S} UTC" in run().splitlines()


@override_settings(USE_TZ=False, TIME_ZONE="Asia/Tokyo")
def test_the_moments_of_json_have_a_time_zone_where_django_uses_none():
    Pause.objects.create(queue_name="default")
    execute(connection, "UPDATE django_partisan_pause SET until = now() + interval '1 hour'")
    Task.objects.create(processor_class="Bill", status="error", error_reason="error")
    execute(connection, "UPDATE django_partisan_task SET finished_at = now()")

    document = json.loads(run("--format", "json"))

    now = datetime.fromisoformat(document["at"])
    until = datetime.fromisoformat(document["queues"][0]["paused"]["until"])
    [failed_at] = [datetime.fromisoformat(error["failed_at"]) for error in document["errors"]]
    assert timedelta(minutes=30) < until - now <= timedelta(hours=1)
    assert timedelta(0) <= now - failed_at < timedelta(minutes=30)


def test_prometheus_gets_the_figures_under_the_names_of_the_metrics(busy_shop):
    text = run("--format", "prometheus")

    samples = {
        (sample.name, *sorted(sample.labels.values())): sample.value
        for family in text_string_to_metric_families(text)
        for sample in family.samples
    }
    assert samples["partisan_queue_tasks", "default", "due"] == 3
    assert samples["partisan_queue_tasks", "default", "in_process"] == 2
    assert samples["partisan_queue_held_tasks", "Gone", "default", "unregistered"] == 1
    assert samples["partisan_managers_alive", "mail"] == 0
    assert samples["partisan_tasks_in_progress", "Letter", "default"] == 1
    assert samples["partisan_oldest_run_age_seconds", "Letter", "default"] >= 12
    assert (samples["partisan_queue_paused", "mail"], samples["partisan_queue_paused", "default"]) == (1, 0)
    assert samples["partisan_queue_oldest_due_age_seconds", "mail"] > 0


def test_a_task_is_explained_in_one_sentence(busy_shop):
    out = run("--task", str(busy_shop))

    assert out.count("\n") == 1
    assert out.startswith(f"Task {busy_shop} (Letter) has run for ")
    document = json.loads(run("--task", str(busy_shop), "--format", "json"))
    assert document["task"] == busy_shop
    assert document["why"].startswith(f"Task {busy_shop} (Letter) has run for ")
    with pytest.raises(CommandError, match="--task has no output for Prometheus"):
        run("--task", "1", "--format", "prometheus")


class Screen(StringIO):
    """An output that interrupts the command after some blocks, as Ctrl+C does."""

    def __init__(
        self, blocks: int, is_terminal: bool, error: type[BaseException] = KeyboardInterrupt
    ) -> None:
        super().__init__()
        self.left = blocks
        self.is_terminal = is_terminal
        self.error = error

    def isatty(self) -> bool:
        return self.is_terminal

    def flush(self) -> None:
        self.left -= 1
        if self.left == 0:
            raise self.error


def test_watching_in_a_pipe_prints_blocks_without_escape_codes():
    out = run("--watch", "0.2", out=Screen(2, is_terminal=False))

    assert out.count("django-partisan 2") == 2
    assert "\x1b" not in out
    assert "  none\n\ndjango-partisan" in out


def test_watching_at_a_terminal_redraws_what_fits(monkeypatch):
    monkeypatch.setenv("LINES", "5")
    monkeypatch.setenv("COLUMNS", "40")

    out = run("--watch", "0", out=Screen(2, is_terminal=True))

    first, second = out.split(partisan_status.REDRAW)[1:]
    assert len(first.strip().splitlines()) == 4
    assert all(len(line) <= 40 for line in second.splitlines())


def test_the_end_of_a_pipe_ends_the_watch(monkeypatch, tmp_path):
    with (tmp_path / "out").open("w") as file:
        monkeypatch.setattr(sys, "stdout", file)

        run("--watch", out=Screen(1, is_terminal=False, error=BrokenPipeError))


@pytest.fixture
def break_database() -> Iterator[Callable[[], None]]:
    """Return a function that makes opening connections fail."""
    settings = connection.settings_dict
    name = settings["NAME"]

    def break_it() -> None:
        settings["NAME"] = "no_such_database"

    yield break_it
    settings["NAME"] = name


def test_a_database_that_does_not_answer_is_an_error_but_no_end_of_a_watch(break_database):
    break_database()

    with pytest.raises(
        CommandError, match=r"The database 'no_such_database' .* does not exist: .* Create it"
    ):
        run()
    out = run("--watch", "0.2", out=Screen(2, is_terminal=False))

    assert out.count("Create it, or correct NAME and HOST in DATABASES.") == 2


def test_all_queues_of_the_settings_are_shown():
    with override_settings(PARTISAN_CONFIG={"default": {}, "reports": {}}):
        assert "reports" in run().split()


@pytest.fixture
def shop_of_the_page() -> list[int]:
    """Insert the rows of the example on the status page; return the tasks that its sentences describe."""
    web = register_manager(host="web1")
    mail, gone = register_manager("mail", host="web2"), register_manager("mail", host="web3")
    rows = claimed(4, manager=web, processor="Thumbnail")
    mails = claimed(1, manager=mail, queue="mail", processor="SendMail")
    waiting = insert_many(12, processor="Thumbnail")
    later = insert(execute_after=timezone.now() + timedelta(hours=9), processor="Cleanup")
    insert_many(3, queue="reports", processor="Report")
    Task.objects.create(processor_class="Renamed", held="unregistered")
    for minutes in range(3):
        at = timezone.now() - timedelta(minutes=4 + minutes)
        failed(processor_class="Download", error_reason="retries_exhausted", finished_at=at)
    runs = [Run(rows[0][ID], "Thumbnail", 4250, 0, 754.0), Run(rows[1][ID], "Thumbnail", 4251, 1, 0.4)]
    publish(connection, web, manager_state(runs, {"busy": 2, "workers_configured": 2}, is_draining=False))
    runs = [Run(mails[0][ID], "SendMail", 977, 0, 1.4)]
    publish(connection, mail, manager_state(runs, {"busy": 1, "workers_configured": 4}, is_draining=True))
    ManagerLease.objects.filter(pk=gone).update(heartbeat_at=timezone.now() - timedelta(seconds=45))
    Pause.objects.create(queue_name="reports", comment="printer is out of order", by="ada")
    Task.objects.filter(pk__in=waiting).update(execute_after=timezone.now() - timedelta(seconds=38))
    return [rows[0][ID], waiting[-1], later.pk]


def shape(text: str) -> str:
    """Return a text without versions, numbers and durations, and with single spaces."""
    for version in (__version__, __version__.partition(".dev")[0]):  # the page shows that of the release
        text = text.replace(version, "V")
    return re.sub(r" +", " ", re.sub(r"[\d.:-]+( (s|min|h))?( [\d]+ (s|min))?", "N", text))


def test_the_examples_on_the_page_are_what_the_command_prints(shop_of_the_page):
    table, *sentences = [
        block.text.partition("\n")[2]
        for block in blocks_of(page("docs/status.md"))
        if block.kind == "console" and "--format" not in block.text
    ]

    printed = run()
    said = [run("--task", str(task_id)) for task_id in shop_of_the_page]

    assert shape(table) == shape(re.sub("database .*", "database 'shop' at N", printed))
    assert [shape(sentence) for sentence in sentences] == [shape(text) for text in said]


def test_the_page_lists_every_key_of_the_json(busy_shop):
    document = json.loads(run("--format", "json"))
    named = set(code_in(page("docs/status.md")))

    objects = [
        document,
        *document["queues"],
        *document["managers"],
        *document["failing"],
        *document["errors"],
    ]
    keys = {key for each in objects for key in each}
    keys |= {key for manager in document["managers"] for one in manager["runs"] or () for key in one}
    keys |= {key for queue in document["queues"] for one in queue["held_kinds"] for key in one}
    keys |= {key for queue in document["queues"] for key in queue["paused"] or ()}
    assert keys - named == set()
