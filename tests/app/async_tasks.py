"""Coroutine functions as tasks, by Django's task framework."""

import asyncio
from contextvars import ContextVar
from typing import Any

from django.utils import timezone, translation

from django_partisan.functions.framework import base
from django_partisan.models import Task

task: Any = base.task

request: ContextVar[str] = ContextVar("request", default="none")

_left: list[Any] = []


@task
async def surroundings(which: str) -> list[str | None]:
    """Return what surrounds the run, after the loop went round once."""
    await asyncio.sleep(0)
    return [request.get(), translation.get_language(), timezone.get_current_timezone_name()]


@task
async def count_tasks() -> int:
    return await Task.objects.acount()


@task
async def dirty(how: str) -> None:
    """Leave the loop in a state that would harm another task which used it."""
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
