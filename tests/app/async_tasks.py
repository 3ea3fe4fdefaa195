"""Coroutine functions as tasks of Django's task framework."""

import asyncio
from contextvars import ContextVar
from typing import Any

from django.utils import timezone, translation
from opentelemetry import trace

from django_partisan.backend import task_options
from django_partisan.functions.framework import base
from django_partisan.models import Task
from django_partisan.telemetry.current_task import running

task: Any = base.task

request: ContextVar[str] = ContextVar("request", default="none")

_left: list[Any] = []


@task
async def surroundings(which: str) -> list[str | None]:
    """Return the context of the run after one turn of the event loop."""
    await asyncio.sleep(0)
    return [request.get(), translation.get_language(), timezone.get_current_timezone_name()]


@task
async def count_tasks() -> int:
    return await Task.objects.acount()


@task
async def dirty(how: str) -> None:
    """Leave the event loop in a state that would harm another task using it."""
    loop = asyncio.get_running_loop()
    if how == "leave_a_task":
        _left.append(asyncio.create_task(asyncio.sleep(3600)))
        await asyncio.sleep(0)
    elif how == "leave_a_handler":
        loop.set_exception_handler(lambda *_: None)
        loop.set_debug(True)
        asyncio.set_event_loop(None)
    else:
        loop.stop()
        await asyncio.sleep(3600)


@task
async def run_and_span() -> list[Any]:
    """Return the id of the task that log lines name, and the current span."""
    await asyncio.sleep(0)
    return [running.get().id, trace.get_current_span().get_span_context().span_id]


@task(takes_context=True)
@task_options(max_attempts=2, backoff=lambda error, result: 0)
async def look_back(context: Any) -> list[Any]:
    """Fail once, then return what the second run knows about the task and about the first run."""
    result = context.task_result
    if context.attempt == 1:
        raise ConnectionError
    errors = [error.exception_class_path for error in result.errors]
    return [result.enqueued_at.isoformat(), result.started_at.isoformat(), errors, len(result.worker_ids)]
