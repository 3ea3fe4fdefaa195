"""The admin's lists answer every query string."""

import pytest
from django.contrib.admin import site
from django.db import transaction
from django.test import Client, RequestFactory
from django.urls import reverse

from django_partisan.admin import TaskAdmin
from django_partisan.admin.filters import STATUS
from django_partisan.models import Task
from tests.support.admin import MANAGERS, SCHEDULES, TASKS, listed, make_task

pytestmark = pytest.mark.django_db

PAUSES = reverse("admin:django_partisan_pause_changelist")
SENSELESS = ("", "nonsense", "\0", "-1", "9" * 20, "9" * 5000, "2026-13-45", "(", "🙂")
OF_ANY_LIST = ("q", "o", "p", "all", "e", "_popup", "_to_field", "_facets", "_changelist_filters", "nonsense")
PARAMETERS = {
    TASKS: (
        *OF_ANY_LIST, STATUS, "status__in", "status__range", "status__regex", "queue", "processor", "held",
        "reason", "argument", "id__exact", "claimed_by__exact", "priority__gt", "created_at__gte",
        "created_at__year", "arguments__kwargs__order", "history__contains", "timeout_seconds__lt",
    ),
    MANAGERS: (
        *OF_ANY_LIST, "id__exact", "id__range", "pid__gte", "host__iregex", "started_at__year",
        "sleeping__exact", "state__v",
    ),
    SCHEDULES: (
        *OF_ANY_LIST, "paused__exact", "origin", "origin__exact", "name__regex", "every__gt", "next_at__year",
    ),
    PAUSES: (*OF_ANY_LIST, "id__exact", "queue_name__regex", "until__year", "until__isnull"),
}  # fmt: skip


def status_of(browser: Client, url: str, **parameters: str) -> int:
    """Return the status of the response; roll back, because an error breaks the transaction."""
    with transaction.atomic():
        status: int = browser.get(url, parameters).status_code
        transaction.set_rollback(True)
    return status


@pytest.mark.parametrize(
    ("url", "parameter"), [(url, name) for url, parameters in PARAMETERS.items() for name in parameters]
)
def test_a_senseless_value_is_answered_with_a_list_a_way_back_or_a_refusal(browser, url, parameter):
    statuses = {value: status_of(browser, url, **{parameter: value}) for value in SENSELESS}

    assert {value: status for value, status in statuses.items() if status not in (200, 302, 400)} == {}


@pytest.mark.parametrize("status", ["nonsense", "", "finished\0"])
def test_a_status_that_no_task_has_lists_none(browser, status):
    make_task(status="error")

    answer = browser.get(TASKS, {STATUS: status}, follow=True)

    assert answer.status_code == 200
    assert "\0" in status or answer.context["cl"].result_count == 0


def test_a_search_for_what_no_name_holds_lists_what_the_filter_selects(browser):
    task = make_task(status="error")

    assert listed(browser, f"?{STATUS}=error&q=%00") == [task.pk]


@pytest.mark.parametrize("query", ["", "?e=1"])
def test_an_error_that_no_query_string_causes_is_not_hidden(rf: RequestFactory, admin_user, query: str):
    class Broken(TaskAdmin):
        def get_queryset(self, request):
            raise ValueError("broken")

    request = rf.get(TASKS + query)
    request.user = admin_user

    with pytest.raises(ValueError, match="broken"):
        Broken(Task, site).get_changelist_instance(request)
