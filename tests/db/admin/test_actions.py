"""Actions on tasks: confirmed with numbers, applied only to the tasks shown, and logged."""

from datetime import timedelta
from typing import Any

import pytest
from django.contrib import admin
from django.contrib.admin.models import CHANGE, DELETION, LogEntry
from django.db import DatabaseError
from django.test import Client, override_settings
from django.utils import timezone

from django_partisan import registry
from django_partisan.admin import admin_log, paging
from django_partisan.models import CancelRequest, Task
from django_partisan.sql.claiming import ID
from tests.support.admin import TASKS, make_task, page_of
from tests.support.registry import Idle
from tests.support.rows import claim_one, claimed, columns, make_copies, register_manager
from tests.support.triggers import refusing

pytestmark = pytest.mark.django_db


def failed(**values: Any) -> Task:
    return make_task(**{"status": "error", "error_reason": "error", "finished_at": timezone.now()} | values)


def scheduled() -> Task:
    return make_task(execute_after=timezone.now() + timedelta(hours=2))


def ask(browser: Client, action: str, *tasks: Task, query: str = "", **values: Any) -> Any:
    """Select tasks and an action in the list; return the confirmation page."""
    data = {"action": action, "index": 0, "_selected_action": [task.pk for task in tasks], **values}
    return browser.post(TASKS + query, data)


def confirm(browser: Client, shown: Any, query: str = "", **values: Any) -> Any:
    """Submit the form of a confirmation; return the page that follows."""
    assert shown.status_code == 200
    data = {
        "action": shown.context["action"].name,
        "_selected_action": shown.context["first"],
        "chosen": shown.context["chosen"],
        "confirmed": "yes",
        **({"from_page": "1"} if shown.context["is_from_page"] else {}),
        **values,
    }
    return browser.post(TASKS + query, data, follow=True)


def said(response: Any) -> list[str]:
    return [str(message) for message in response.context["messages"]]


def test_the_confirmation_says_how_many_and_changes_nothing(browser):
    tasks = [failed(), failed(), make_task(), make_task(status="finished")]
    before = list(Task.objects.order_by("pk").values())

    page = ask(browser, "requeue", *tasks)

    assert "Requeue 2 failed tasks?" in page.content.decode()
    assert "2 other selected tasks will not be changed." in page.content.decode()
    assert list(Task.objects.order_by("pk").values()) == before
    assert not LogEntry.objects.exists()


def test_failed_tasks_are_requeued_with_a_comment_and_a_log_entry_each(browser):
    tasks = [failed(), failed(), make_task()]

    response = confirm(browser, ask(browser, "requeue", *tasks), comment="the net is back")

    assert said(response) == ["Requeued: 2."]
    for task in tasks[:2]:
        [entry] = columns(task.pk, "history")
        assert (columns(task.pk, "status"), entry["comment"]) == ("new", "the net is back")
    entries = LogEntry.objects.order_by("pk").values_list("object_id", "action_flag", "change_message")
    message = "Requeued. Comment: the net is back"
    assert list(entries) == [(str(task.pk), CHANGE, message) for task in tasks[:2]]
    assert message in browser.get(page_of(tasks[0]).replace("change", "history")).content.decode()


def test_waiting_tasks_are_cancelled_and_running_ones_are_asked_to_end(browser):
    running = claimed(1)[0][ID]
    waiting = scheduled()

    page = ask(browser, "cancel", waiting, Task.objects.get(pk=running))
    response = confirm(browser, page, comment="ordered twice")

    assert "Cancel 2 tasks?" in page.content.decode()
    assert set(said(response)[0].split(". ")) in (
        {"Cancelled: 1", "Cancel requested: 1."},
        {"Cancelled: 1.", "Cancel requested: 1"},
    )
    assert columns(waiting.pk, "status", "error_reason") == ("error", "cancelled")
    assert list(CancelRequest.objects.values_list("task_id", "comment")) == [(running, "ordered twice")]
    messages = dict(LogEntry.objects.values_list("object_id", "change_message"))
    assert messages == {
        str(waiting.pk): "Cancelled. Comment: ordered twice",
        str(running): "Cancel requested. Comment: ordered twice",
    }


def test_scheduled_tasks_are_made_due_and_can_be_claimed(browser):
    task = scheduled()

    response = confirm(browser, ask(browser, "run_now", task))

    assert said(response) == ["Made due now: 1."]
    assert claim_one(register_manager())[ID] == task.pk


def test_waiting_tasks_get_the_priority_of_the_form(browser):
    task = make_task()

    response = confirm(browser, ask(browser, "prioritize", task), priority="-3", comment="first")

    assert said(response) == ["Priority set to -3: 1."]
    assert columns(task.pk, "priority") == -3
    assert LogEntry.objects.get().change_message == "Priority set to -3. Comment: first"


@pytest.mark.parametrize("priority", ["", "high", "99999999999"])
def test_a_priority_that_is_none_is_asked_for_again(browser, priority):
    task = make_task()

    page = confirm(browser, ask(browser, "prioritize", task), priority=priority)

    assert page.context["form"].errors.keys() == {"priority"}
    assert columns(task.pk, "priority") == 10


def test_tasks_that_are_done_are_deleted(browser):
    done = [failed(), make_task(status="finished")]
    waiting = make_task()

    response = confirm(browser, ask(browser, "delete_done", *done, waiting))

    assert said(response) == ["Deleted: 2."]
    assert list(Task.objects.all()) == [waiting]
    assert set(LogEntry.objects.values_list("action_flag", flat=True)) == {DELETION}


@pytest.mark.parametrize("action", ["requeue", "cancel", "run_now", "prioritize", "delete_done"])
def test_an_action_that_is_for_none_of_the_chosen_tasks_says_what_it_is_for(browser, action):
    none = make_task(status="in_process" if action == "delete_done" else "finished")

    response = browser.post(TASKS, {"action": action, "_selected_action": none.pk}, follow=True)

    [message] = said(response)
    assert message.startswith("Only")


def test_a_task_that_was_claimed_after_the_confirmation_was_shown_is_left_alone(browser):
    first, second = scheduled(), scheduled()
    page = ask(browser, "run_now", first, second)
    Task.objects.filter(pk=first.pk).update(status="in_process", ready=False, claimed_at=timezone.now())
    before = Task.objects.filter(pk=first.pk).values().get()

    response = confirm(browser, page)

    assert said(response) == [
        "Made due now: 1. Not changed: 1 (changed in the meantime or locked by another transaction)."
    ]
    assert Task.objects.filter(pk=first.pk).values().get() == before


@pytest.mark.django_db(transaction=True)
@pytest.mark.parametrize("action", ["requeue", "run_now", "prioritize", "delete_done"])
def test_a_row_that_another_transaction_locks_is_left_alone_and_counted(browser, action, second):
    tasks = [failed(), failed()] if action in ("requeue", "delete_done") else [scheduled(), scheduled()]
    page = ask(browser, action, *tasks)
    second.set_autocommit(False)
    with second.cursor() as cursor:
        cursor.execute("SELECT FROM django_partisan_task WHERE id = %s FOR UPDATE", (tasks[0].pk,))

    [message] = said(confirm(browser, page, priority=1))

    second.rollback()
    second.set_autocommit(True)
    assert ": 1. Not changed: 1 (" in message
    assert message.endswith("changed in the meantime or locked by another transaction).")


def test_only_tasks_that_the_confirmation_showed_are_acted_on(browser):
    shown = failed()
    page = ask(browser, "requeue", shown, query="?status__exact=error", select_across="1")
    later = failed()

    confirm(browser, page, "?status__exact=error", select_across="1")

    assert columns(shown.pk, "status") == "new"
    assert columns(later.pk, "status") == "error"


@override_settings(PARTISAN_CONFIG={"mail": {}})
def test_all_tasks_of_the_filters_are_described_in_words(browser):
    task = failed(queue_name="mail")
    query = "?status__exact=error&queue=mail&q=let&priority__lt=20"

    page = ask(browser, "requeue", task, query=query, select_across="1").content.decode()

    words = "status: Error; queue: mail; priority__lt: 20; search: let."
    assert f"All tasks with these filters are selected: {words}" in page


def test_all_tasks_without_any_filter_are_said_to_be_all(browser):
    page = ask(browser, "requeue", failed(), select_across="1").content.decode()

    assert "All tasks in the list are selected, without a filter." in page


def test_of_all_tasks_cancelled_ones_are_requeued_only_if_the_filter_names_them(browser):
    cancelled, other = failed(error_reason="cancelled"), failed()

    of_all = ask(browser, "requeue", other, select_across="1")
    of_reason = ask(browser, "requeue", cancelled, query="?reason=cancelled", select_across="1")
    one_by_one = ask(browser, "requeue", cancelled, other)

    assert [page.context["question"] for page in (of_all, of_reason, one_by_one)] == [
        "Requeue 1 failed task?",
        "Requeue 1 failed task?",
        "Requeue 2 failed tasks?",
    ]


def test_more_tasks_than_can_be_listed_are_acted_on_in_parts(browser):
    first = make_task(status="finished")
    make_copies(first, paging.LISTED_MAX)

    page = ask(browser, "delete_done", first, select_across="1")
    response = confirm(browser, page, select_across="1")

    assert "More tasks match; only the latest 10000 are chosen." in page.content.decode()
    assert "and 9990 more" in page.content.decode()
    assert said(response) == ["Deleted: 10000."]
    assert list(Task.objects.all()) == [first]


def test_an_action_on_many_tasks_has_one_log_entry_with_the_filters(browser):
    number = admin_log.LOGGED_MAX + 1
    Task.objects.bulk_create(Task(processor_class="Letter", status="error") for _ in range(number))
    query = "?status__exact=error"

    page = ask(browser, "requeue", Task.objects.latest("pk"), query=query, select_across="1")
    confirm(browser, page, query, select_across="1", comment="again")

    entry = LogEntry.objects.get()
    assert (entry.object_id, entry.object_repr) == (None, "101 tasks")
    assert entry.change_message == "Requeued: 101. Filters: status: Error. Comment: again"
    assert "101 tasks" in browser.get("/admin/").content.decode()


def test_many_chosen_tasks_have_an_entry_without_filters(browser):
    number = admin_log.LOGGED_MAX + 1
    tasks = Task.objects.bulk_create(Task(processor_class="Letter", status="error") for _ in range(number))

    confirm(browser, ask(browser, "requeue", *tasks))

    assert LogEntry.objects.get().change_message == "Requeued: 101."


def test_the_button_of_a_tasks_page_leads_back_to_it_and_that_of_a_deleted_one_to_the_list(browser):
    task = failed()
    data = {"_selected_action": task.pk, "from_page": "1"}

    requeued = confirm(browser, browser.post(TASKS, {"action": "requeue", **data}))
    Task.objects.update(status="error")
    deleted = confirm(browser, browser.post(TASKS, {"action": "delete_done", **data}))

    assert [page.redirect_chain[-1][0] for page in (requeued, deleted)] == [page_of(task), TASKS]


def test_markup_is_shown_as_text(browser):
    markup = "<script>alert(1)</script>"
    task = failed(processor_class=markup, error_type=markup, error_message=markup)
    waiting = make_task(processor_class=markup)

    page = ask(browser, "prioritize", waiting, query="?q=%3Cscript", select_across="1")
    again = confirm(browser, page, comment=markup, priority="none")
    confirm(browser, ask(browser, "requeue", task), comment=markup)
    pages = [page, again, browser.get(TASKS), browser.get(page_of(task)), browser.get("/admin/")]
    pages.append(browser.get(page_of(task).replace("change", "history")))

    assert [shown for shown in pages if markup in shown.content.decode()] == []
    assert "&lt;script&gt;" in again.content.decode()


def test_a_comment_that_is_too_long_is_asked_for_again(browser):
    page = confirm(browser, ask(browser, "requeue", failed()), comment="x" * 201)

    assert page.context["form"].errors.keys() == {"comment"}


def test_ids_that_are_no_numbers_are_left_out(browser):
    task = failed()
    ids = {"_selected_action": task.pk, "chosen": f"x,{task.pk},{9**40}"}

    response = browser.post(TASKS, {"action": "requeue", **ids, "confirmed": "yes"}, follow=True)

    assert said(response) == ["Requeued: 1."]


def test_what_was_done_before_an_error_is_logged(browser):
    number = 600
    first = make_task(status="finished")
    make_copies(first, number - 1)
    last = Task.objects.latest("pk")
    page = ask(browser, "delete_done", first, select_across="1")

    with refusing("DELETE", f"OLD.id = {last.pk}"), pytest.raises(DatabaseError, match="as asked"):
        confirm(browser, page, select_across="1")

    assert LogEntry.objects.get().change_message.startswith("Deleted: 500. Not changed: 100")


def test_a_site_that_offers_its_own_actions_still_does(browser):
    admin.site.add_action(lambda *_: None, "export")
    try:
        choices = dict(browser.get(TASKS).context["action_form"].fields["action"].choices)
    finally:
        admin.site.disable_action("export")
        del admin.site._global_actions["export"]

    assert "export" in choices


@pytest.mark.parametrize(
    ("query", "number", "words"),
    [
        ("?status__exact=error", paging.LISTED_MAX, "More tasks match; only the latest 10000 are chosen."),
        ("?status__exact=error&processor=Rare", paging.SEARCHED_MAX, "More tasks may match"),
        ("?processor=Rare", paging.SEARCHED_MAX, "More tasks may match"),
        ("?status__exact=error&processor=Rare", 1, ""),
        ("?processor=Rare", 1, ""),
        ("?status__exact=error", 1, ""),
    ],
)
def test_the_confirmation_says_if_more_tasks_may_match_than_the_list_finds(
    browser, own_registry, query, number, words
):
    registry.register(type("Rare", (Idle,), {}))
    failed(processor_class="Rare", finished_at=timezone.now() - timedelta(hours=1))
    make_copies(failed(), number)
    latest = failed(processor_class="Rare")

    page = ask(browser, "delete_done", latest, query=query, select_across="1")

    assert page.context["selection"].is_cut is bool(words)
    content = page.content.decode()
    assert words in content if words else "More tasks" not in content


def test_a_task_that_has_the_priority_already_is_said_to_have_it(browser):
    tasks = [make_task(priority=3), make_task(priority=4)]

    response = confirm(browser, ask(browser, "prioritize", *tasks), priority="3")

    why = "already at this priority, changed in the meantime or locked by another transaction"
    assert said(response) == [f"Priority set to 3: 1. Not changed: 1 ({why})."]
