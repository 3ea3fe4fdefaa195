"""A project with django-structlog: log lines inside a task contain the request and the task."""

from collections.abc import Iterator
from typing import Any

import pytest
import structlog
from django.http import HttpRequest, HttpResponse
from django.test import RequestFactory
from django_structlog.middlewares import RequestMiddleware

from django_partisan import logs, registry
from django_partisan.logs import add_running_task
from django_partisan.testing import run_pending
from tests.support.registry import Idle

pytestmark = pytest.mark.django_db


@pytest.fixture
def lines() -> Iterator[list[dict[str, Any]]]:
    """Configure structlog as django-structlog documents, plus our processor; collect its lines."""
    found: list[dict[str, Any]] = []

    def keep(_logger: Any, _method: str, event_dict: Any) -> Any:
        found.append(dict(event_dict))
        raise structlog.DropEvent

    structlog.configure(processors=[structlog.contextvars.merge_contextvars, add_running_task, keep])
    yield found
    structlog.reset_defaults()


class Confirm(Idle):
    """Log with structlog, as any code of the project does."""

    def run(self) -> None:
        structlog.get_logger("shop").info("order confirmed")


def order(_request: HttpRequest) -> HttpResponse:
    Confirm(1).delay()
    return HttpResponse()


def test_a_line_inside_a_task_names_the_request_that_enqueued_it_and_the_task(
    lines, own_registry: None, no_subscribers: None
):
    registry.register(Confirm)
    logs.install()
    RequestMiddleware(order)(RequestFactory().post("/orders/"))

    [ran] = run_pending()

    of_request, *_, line = lines
    assert {name: value for name, value in line.items() if name != "user_id"} == {
        "event": "order confirmed",
        "request_id": of_request["request_id"],
        "partisan_task_id": ran.task_id,
        "partisan_processor": "Confirm",
        "partisan_queue": "default",
        "partisan_attempt": 1,
    }
