"""The examples of our own pages are run, page by page, and do what the pages say."""

import json
import logging
import shlex
import sys
from collections import Counter
from collections.abc import Callable, Iterator
from datetime import timedelta
from email.message import Message
from importlib import import_module
from importlib.util import find_spec
from inspect import signature
from logging.config import DictConfigurator
from types import SimpleNamespace
from typing import Any, NoReturn
from urllib.error import HTTPError

import pytest
import structlog
from django.core import mail
from django.core.management import call_command
from django.http import Http404
from django.utils import timezone

from django_partisan import retention, signals
from django_partisan.config import queues
from django_partisan.functions import framework
from django_partisan.logs import add_running_task
from django_partisan.models import Schedule, Task
from django_partisan.pausing import paused_queues
from django_partisan.schedules import configured
from django_partisan.testing import Ran, drain, run_pending
from tests.db.snippets import OF_SETTINGS, Project
from tests.support.database import open_transaction
from tests.support.pages import PAGES, blocks_of, name_of, page

pytestmark = pytest.mark.django_db

TESTED_BELOW = {
    "README.md", "docs/coming-from.md", "docs/deploying.md", "docs/django-tasks.md", "docs/errors.md",
    "docs/integrations.md", "docs/observability.md", "docs/operate.md", "docs/postgresql.md",
    "docs/postponing.md", "docs/queues.md", "docs/schedules.md", "docs/settings.md", "docs/tasks.md",
    "docs/recipes.md", "docs/testing.md",
}  # fmt: skip
TESTED_ELSEWHERE = {"docs/tutorial.md"}  # by tests/processes/test_tutorial.py


@pytest.fixture
def project(own_registry: None, monkeypatch: pytest.MonkeyPatch, settings: Any) -> Iterator[Project]:
    receivers = list(signals.task_finished.receivers)
    yield Project(monkeypatch, settings)
    signals.task_finished.receivers = receivers
    signals.task_finished.sender_receivers_cache.clear()


@pytest.fixture
def django_tasks(monkeypatch: pytest.MonkeyPatch) -> None:
    """Make the framework importable under its Django 6 name where only the backport for Django 5.2 exists."""
    if find_spec("django.tasks") is None:
        exceptions = import_module(framework.TaskResultDoesNotExist.__module__)
        monkeypatch.setitem(sys.modules, "django.tasks", framework.base)
        monkeypatch.setitem(sys.modules, "django.tasks.exceptions", exceptions)


def outcomes(ran: list[Ran]) -> Counter[tuple[str, str]]:
    return Counter((one.processor, one.outcome) for one in ran)


def tomorrow() -> Any:
    return timezone.now() + timedelta(days=2)


def test_every_page_with_an_example_is_tested_here():
    with_examples = {
        name_of(path)
        for path in PAGES
        if any(block.kind == "python" for block in blocks_of(path.read_text()))
    }

    assert with_examples == TESTED_BELOW | TESTED_ELSEWHERE


def test_the_readme_sends_a_letter(project: Project):
    project.run_page("README.md", page("README.md"))

    assert outcomes(drain()) == {("Welcome", "completed"): 1}
    assert [letter.to for letter in mail.outbox] == [["ada@example.org"]]
    assert queues.queue_config("mail").max_queue_size == 50


def test_the_page_on_deploying_runs_tasks_of_the_old_name(project: Project):
    project.run_page("docs/deploying.md", page("docs/deploying.md"))

    assert outcomes(drain()) == {("SendBill", "completed"): 1}


def test_the_page_on_operating_pauses_and_resumes_a_queue(project: Project):
    project.run_page("docs/operate.md", page("docs/operate.md"))

    assert paused_queues() == []


def test_the_page_on_tasks(project: Project, django_capture_on_commit_callbacks: Any):
    with django_capture_on_commit_callbacks(execute=True):
        project.run_page("docs/tasks.md", page("docs/tasks.md"))
    now = outcomes(drain())
    later = outcomes(drain(now=tomorrow()))

    assert now == {
        ("Letter", "completed"): 7,  # seven different letters now, and one tomorrow
        ("Reminder", "completed"): 1,
        ("Census", "completed"): 1,
        ("Archive", "completed"): 1,
    }
    assert later == {("Letter", "completed"): 1}


def test_the_page_on_postponing(project: Project):
    project.run_page("docs/postponing.md", page("docs/postponing.md"))
    Task.objects.waiting().update(priority=1)
    first = Task.objects.create(processor_class="Report", execute_after=tomorrow())
    Task.objects.waiting().exclude(pk=first.pk).update(id=first.pk + 1)

    [ran] = drain()

    assert (ran.outcome, ran.delay_seconds) == ("postponed", 300)


@pytest.mark.usefixtures("django_tasks")
def test_the_page_on_functions(project: Project):
    project.run_page("docs/django-tasks.md", page("docs/django-tasks.md"))

    assert outcomes(drain()) == {("partisan_tasks.count_words", "completed"): 3}
    results = [*project.names["results"], project.names["result"]]
    for result in results:
        result.refresh()
    assert [result.return_value for result in results] == [1, 2, 6]


CRONTAB = SimpleNamespace(
    minute="0", hour="3", day_of_month="*", month_of_year="*", day_of_week="*", timezone="Europe/Berlin"
)
FIRST_MONDAY = SimpleNamespace(**{**vars(CRONTAB), "day_of_month": "1-7", "day_of_week": "1"})
INTERVAL = SimpleNamespace(schedule=SimpleNamespace(run_every=timedelta(seconds=30)))


def periodic_task(name: str = "invoice", **values: Any) -> SimpleNamespace:
    """Return an object that looks like a row of django-celery-beat."""
    return SimpleNamespace(
        name=name, task="partisan_tasks.archive_invoice", args="[17]", kwargs="{}", **values
    )


@pytest.mark.usefixtures("django_tasks")
def test_the_page_on_coming_from_other_libraries(project: Project):
    project.run_page("docs/coming-from.md", page("docs/coming-from.md"))
    project.names["move"](periodic_task(crontab=CRONTAB, interval=None, enabled=False))
    project.names["move"](periodic_task("other", crontab=None, interval=INTERVAL, enabled=True))
    with pytest.raises(ValueError, match=r"'monthly' .* by hand, such as MON#1"):
        project.names["move"](periodic_task("monthly", crontab=FIRST_MONDAY, interval=None, enabled=True))

    assert list(configured.problems()) == []
    assert [
        (row.cron, row.time_zone, row.every, row.paused) for row in Schedule.objects.order_by("name")
    ] == [
        ("0 3 * * *", "Europe/Berlin", None, True),
        (None, None, 30, False),
    ]
    ran = [(one.processor, one.outcome, one.delay_seconds) for one in drain(now=tomorrow())]

    assert ran == [
        ("partisan_tasks.send_invoice", "retried", 60),
        ("partisan_tasks.send_invoice", "completed", None),
        ("partisan_tasks.archive_invoice", "completed", None),
    ]


def test_the_page_on_errors(project: Project):
    *before, again, cancelling = (
        block.text for block in blocks_of(page("docs/errors.md")) if block.kind == "python"
    )
    for text in before:
        project.run(text)
    ran = drain(now=tomorrow(), raise_errors=False)
    outcomes = [(one.outcome, one.delay_seconds, one.reason) for one in ran]
    limited, *first = sorted(outcomes, key=lambda outcome: outcome[0] != "completed")
    project.run(again)
    second = drain(now=tomorrow(), raise_errors=False)
    project.run(again)
    project.run(cancelling)

    assert first == [
        ("retried", 3, None),
        ("retried", 6, None),
        ("retried", 9, None),
        ("failed", None, "retries_exhausted"),
    ]
    assert limited == ("completed", None, None)
    assert len(second) == 4, "a failed task that is put back has all its retries again"
    assert project.names["result"] == (1, 0)
    assert Task.objects.get(error_reason="cancelled").error_message == "the mirror is gone"


@pytest.mark.usefixtures("django_tasks")
def test_the_recipes(project: Project, rf: Any):
    project.run_page("docs/recipes.md", page("docs/recipes.md"))
    project.names["urlopen"] = unavailable(503)
    busy = "SELECT pg_advisory_xact_lock(hashtextextended('SyncCustomer 17', 0))"

    with open_transaction(busy):
        ran = [one for _ in range(2) for one in run_pending()]
    now = sorted((one.processor, one.outcome) for one in ran)
    project.names["urlopen"] = lambda url, timeout: None
    later = outcomes(drain(now=timezone.now() + timedelta(minutes=2)))

    assert now == [
        ("Newsletter", "completed"),
        ("NewsletterPart", "completed"),
        ("NewsletterPart", "completed"),
        ("NewsletterSummary", "completed"),
        ("Notify", "retried"),
        ("RemindOfInvoice", "completed"),
        ("SyncCustomer", "postponed"),
    ]
    assert later[("Notify", "completed")] == later[("SyncCustomer", "completed")] == 1
    assert later[("UpdateIndex", "completed")] == 1, "three changes lead to one run"
    token = json.loads(project.names["start"](rf.post("", {"text": "one two"})).content)["token"]
    shown = [json.loads(project.names["progress"](rf.get(""), token).content)]
    drain()
    shown.append(json.loads(project.names["progress"](rf.get(""), token).content))
    assert shown == [{"status": "READY", "value": None}, {"status": "SUCCESSFUL", "value": 2}]
    with pytest.raises(Http404):
        project.names["progress"](rf.get(""), "1")


@pytest.mark.parametrize(("status", "outcome"), [(429, "retried"), (503, "retried"), (403, "failed")])
@pytest.mark.usefixtures("django_tasks")
def test_the_recipe_for_http_retries_by_status(project: Project, status: int, outcome: str):
    first = next(block.text for block in blocks_of(page("docs/recipes.md")) if block.kind == "python")
    project.run(first)
    project.names["urlopen"] = unavailable(status)

    [ran] = run_pending(raise_errors=False)

    assert ran.outcome == outcome


def unavailable(status: int) -> Callable[..., NoReturn]:
    """Return a replacement of ``urlopen()`` whose server responds with this HTTP status."""

    def urlopen(url: str, timeout: float) -> NoReturn:
        raise HTTPError(url, status, "", Message(), None)

    return urlopen


def test_the_page_on_integrations(project: Project):
    of_structlog, of_text, of_json = (
        block.text for block in blocks_of(page("docs/integrations.md")) if block.kind == "python"
    )
    record = logging.makeLogRecord({"msg": "hello", "name": "shop"})

    project.run(of_structlog)
    processors = structlog.get_config()["processors"]
    structlog.reset_defaults()
    project.run(of_text)
    text = formatted(record, project.names["LOGGING"])
    project.run(of_json)
    line = json.loads(formatted(record, project.names["LOGGING"]))

    assert add_running_task in processors
    assert text == "hello [- -]"
    assert (line["message"], line["log.logger"]) == ("hello", "shop")


def formatted(record: logging.LogRecord, config: dict[str, Any]) -> str:
    """Return a record as formatted by the handler of a ``LOGGING``, without configuring this process."""
    configurator = DictConfigurator(config)
    [handler] = config["handlers"].values()
    for name in handler.get("filters", ()):
        assert configurator.configure_filter(config["filters"][name]).filter(record)
    formatter = configurator.configure_formatter(config["formatters"][handler["formatter"]])
    return str(formatter.format(record))


def test_the_page_on_queues(project: Project):
    project.run_page("docs/queues.md", page("docs/queues.md"))

    assert drain() == []
    assert outcomes(drain("reports")) == {("YearlyReport", "completed"): 1}
    assert queues.queue_config("reports").tasks_per_worker_instance == 50


def test_the_page_on_schedules(project: Project, settings: Any, capsys: pytest.CaptureFixture[str]):
    project.run_page("docs/schedules.md", page("docs/schedules.md"))

    assert Schedule.objects.get().name == "report of the north"
    assert not Schedule.objects.get().paused
    assert Task.objects.get().pk == project.names["task_id"]
    assert outcomes(drain()) == {("NightlyReport", "completed"): 1}
    assert "The report of north" in capsys.readouterr().out
    for block in blocks_of(page("docs/schedules.md")):
        if block.text.startswith(OF_SETTINGS):
            project.configure(block.text)
            assert list(configured.problems()) == []


def test_the_page_on_schedules_shows_the_ticks_that_there_are(
    project: Project, capsys: pytest.CaptureFixture[str]
):
    text = page("docs/schedules.md")
    first = next(block.text for block in blocks_of(text) if block.text.startswith(OF_SETTINGS))
    project.run_page("docs/schedules.md", text)
    project.configure(first)
    [shown] = [block.text for block in blocks_of(text) if "--upcoming" in block.text]
    command, *ticks = shown.splitlines()
    capsys.readouterr()

    call_command(*shlex.split(command)[3:])

    assert capsys.readouterr().out.splitlines() == ticks


def test_the_page_on_settings(project: Project, settings: Any):
    for block in blocks_of(page("docs/settings.md")):
        if block.kind == "python":
            project.configure(block.text)

    assert queues.queue_config().workers_count == 5
    assert list(queues.problems()) == []
    assert settings.PARTISAN_OBSERVABILITY["METRICS_PORT"] == {"default": 9464, "reports": 9465}


def test_the_page_on_testing(project: Project):
    project.run_page("docs/testing.md", page("docs/testing.md"))
    result = project.run_tests()

    assert result.testsRun == 2
    assert result.errors + result.failures == []


@pytest.mark.parametrize(
    "name",
    [
        "test_a_greeting_waits",
        "test_a_task_is_visible",
        "test_a_greeting_is_sent",
        "test_a_greeting_is_sent_at_once",
    ],
)
def test_the_page_on_testing_with_pytest(project: Project, name: str, request: pytest.FixtureRequest):
    project.run_page("docs/testing.md", page("docs/testing.md"))
    example = project.names[name]

    example(**{fixture: request.getfixturevalue(fixture) for fixture in signature(example).parameters})


def test_the_page_on_postgresql(project: Project, capsys: pytest.CaptureFixture[str]):
    project.run_page("docs/postgresql.md", page("docs/postgresql.md"))

    kept = retention.rules()
    assert kept.processors == {"Ping": {"finished": 3600}}
    assert kept.queues["payments"] == {"finished": retention.FOREVER, "error": retention.FOREVER}
    assert capsys.readouterr().out == "1\n", "the one task that is due"


def test_the_page_on_observability(project: Project):
    project.run_page("docs/observability.md", page("docs/observability.md"))
    [carrying] = Task.objects.waiting().filter(processor_class="SendLetter")
    ran = outcomes(drain())

    assert carrying.context == {"ctx.request_id": "r-17"}
    assert ran == {("SendLetter", "completed"): 1, ("ImportOrders", "completed"): 1}
