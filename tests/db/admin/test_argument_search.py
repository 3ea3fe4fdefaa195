"""Among the latest tasks, the search finds values of arguments, but never secret ones."""

from typing import Any

import pytest
from django.db import connection

from django_partisan import registry
from django_partisan.admin.argument_search import ARGUMENTS_SEARCHED_MAX, ArgumentTerm
from django_partisan.functions.definition import register
from django_partisan.functions.framework import base
from django_partisan.models import Task
from tests.support.admin import TASKS, listed, make_task, text
from tests.support.registry import Idle
from tests.support.rows import make_copies

pytestmark = pytest.mark.django_db


class Letter(Idle):
    def __init__(self, address: str, order: Any = None) -> None:
        super().__init__()


def remote(context: Any, address: str, order: int) -> None: ...


@pytest.fixture(autouse=True)
def registered(own_registry: None) -> None:
    registry.register(Letter)


def called(*args: Any, **kwargs: Any) -> Task:
    return make_task(arguments={"args": list(args), "kwargs": kwargs})


@pytest.mark.parametrize("query", ["?q=order%3D4711", "?q=+order+:+4711+", "?argument=order:4711"])
def test_a_task_is_found_by_an_argument_passed_by_name_or_by_place(browser, query):
    by_name, by_text, by_place = called(order=4711), called(order="4711"), called("here", 4711)
    called(order=4712)
    called(4711)
    make_task(processor_class="Other", arguments={"args": ["here", 4711], "kwargs": {}})
    make_task(arguments=[])

    assert sorted(listed(browser, query)) == [by_name.pk, by_text.pk, by_place.pk]


@pytest.mark.parametrize(
    ("typed", "value"),
    [
        ("true", True),
        ("null", None),
        ("1.5", 1.5),
        ('"true"', "true"),
        ("a b", "a b"),
        ("[1]", "[1]"),
        ("", ""),
        ("'; DROP TABLE x; --", "'; DROP TABLE x; --"),
        ("100%25", "100%"),
    ],
)
def test_the_value_may_be_any_of_json_but_a_list_or_an_object(browser, typed, value):
    task = called(order=value)
    called(order="another")

    assert listed(browser, f"?argument=order:{typed}") == [task.pk]


@pytest.mark.parametrize("typed", ["NaN", "1e999", "a%00b", '"\\ud800"', '"\\u0000"', "9" * 5000, "[" * 5000])
def test_a_value_that_no_argument_can_have_finds_nothing(browser, typed):
    called(order=1)

    assert listed(browser, f"?argument=order:{typed}") == []


def test_a_secret_is_not_searched_for(browser):
    called(api_token="sesame")

    response = browser.get(f"{TASKS}?q=api_token%3Dsesame")

    assert list(response.context["cl"].result_list) == []
    assert "looks like the name of a secret" in response.content.decode()


def test_a_filter_without_a_name_finds_nothing(browser):
    called(order=4711)

    assert listed(browser, "?argument=4711") == []


def test_the_page_says_how_many_tasks_are_searched_and_other_filters_apply(browser):
    failed = called(order=4711)
    Task.objects.update(status="error")
    called(order=4711)

    assert "Only the latest 10,000 tasks are searched." in text(browser, f"{TASKS}?argument=order:4711")
    assert listed(browser, "?argument=order:4711&status__exact=error") == [failed.pk]


def test_no_more_than_the_latest_tasks_are_searched(browser):
    called(order=0)
    called(order=1)
    make_copies(called(order=2), ARGUMENTS_SEARCHED_MAX - 2)

    assert listed(browser, "?argument=order:0") == []
    assert len(listed(browser, "?argument=order:1")) == 1


def test_very_long_arguments_are_not_read(browser):
    with connection.cursor() as cursor:
        cursor.execute("ALTER TABLE django_partisan_task ALTER COLUMN arguments SET STORAGE EXTERNAL")
    called(order=4711, text="x" * 20_000)
    task = called(order=4711, text="x" * 10_000)

    assert listed(browser, "?argument=order:4711") == [task.pk]


def test_a_class_without_a_signature_has_no_places():
    registry.register(type("Odd", (Idle,), {"__signature__": "none"}))

    assert list(ArgumentTerm("order", "1").places()) == [("Letter", 1)]


def test_the_context_of_a_function_has_no_place(own_registry):
    task: Any = base.task(takes_context=True)(remote)
    register(task)

    name = task.module_path
    assert list(ArgumentTerm("order", "1").places()) == [("Letter", 1), (name, 1)]
    assert (name, 0) not in ArgumentTerm("context", "1").places()
