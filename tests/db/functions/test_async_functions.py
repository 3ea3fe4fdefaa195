"""Coroutine functions run in the context of their run, and do not affect others."""

from datetime import timedelta
from typing import Any

import pytest
from django.utils import timezone, translation

from django_partisan.functions.framework import signals
from django_partisan.testing import captured_spans, drain, run_pending
from tests.app import async_tasks

pytestmark = pytest.mark.django_db


def return_values(*results: Any) -> list[Any]:
    run_pending(raise_errors=False)
    for result in results:
        result.refresh()
    return [result.return_value if not result.errors else result.errors[0].traceback for result in results]


def test_context_variables_language_and_time_zone_of_the_run_are_right_inside_and_end_with_it():
    def prepare(task_result: Any, **_: Any) -> None:
        if task_result.args == ["prepared"]:
            async_tasks.request.set("r-17")
            translation.activate("de")
            timezone.activate("Europe/Berlin")

    outside = [async_tasks.request.get(), translation.get_language(), timezone.get_current_timezone_name()]
    signals.task_started.connect(prepare)
    try:
        prepared, plain = return_values(
            async_tasks.surroundings.enqueue("prepared"), async_tasks.surroundings.enqueue("plain")
        )
    finally:
        signals.task_started.disconnect(prepare)

    assert prepared == ["r-17", "de", "Europe/Berlin"]
    assert plain == outside
    assert outside == [
        async_tasks.request.get(), translation.get_language(), timezone.get_current_timezone_name()
    ]  # fmt: skip


def test_the_task_of_log_lines_and_the_span_are_those_of_the_run():
    result = async_tasks.run_and_span.enqueue()

    with captured_spans() as spans:
        [(task_id, span_id)] = return_values(result)

    [span] = [one for one in spans if one.context is not None and one.context.span_id == span_id]
    assert task_id == int(result.id)
    assert span.name == "process default"


def test_the_orm_is_used_in_the_transaction_of_the_run():
    [number] = return_values(async_tasks.count_tasks.enqueue())

    assert number == 1


@pytest.mark.parametrize("how", ["leave_a_task", "leave_a_handler", "stop_the_loop"])
def test_a_loop_that_a_task_leaves_dirty_harms_no_other(how: str):
    _, after = return_values(async_tasks.dirty.enqueue(how), async_tasks.surroundings.enqueue("plain"))

    assert after[0] == "none"


def test_a_coroutine_reads_all_of_its_result():
    result = async_tasks.look_back.enqueue()

    drain(now=timezone.now() + timedelta(days=1))
    result.refresh()

    enqueued, started = result.enqueued_at.isoformat(), result.started_at.isoformat()
    assert result.return_value == [enqueued, started, ["builtins.ConnectionError"], 2]


def test_an_asynchronous_receiver_reads_all_of_the_result():
    seen: list[Any] = []

    async def receive(task_result: Any, **_: Any) -> None:
        seen.append((task_result.enqueued_at, task_result.worker_ids))

    signals.task_started.connect(receive)
    try:
        result = async_tasks.surroundings.enqueue("plain")
        return_values(result)
    finally:
        signals.task_started.disconnect(receive)

    assert seen == [(result.enqueued_at, result.worker_ids)]
