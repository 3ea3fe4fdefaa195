"""What the parts of the loop work with, in the hands of a test: a line, settings, claimed tasks."""

import time
from collections.abc import Callable
from functools import partial
from typing import Any, TypeVar

from django_partisan.config import queues
from django_partisan.config.queues import QueueConfig
from django_partisan.engine.manager.database_thread import Call, Done, Line
from django_partisan.sql.claiming import TaskRow

T = TypeVar("T")
PATIENCE_SECONDS = 20.0
ARGUMENTS = '{"args":[],"kwargs":{}}'


class LineByHand(Line):
    """A line that asks nothing: the test sees each call and answers it."""

    def __init__(self) -> None:
        self.calls: list[tuple[Call, Done]] = []
        self.pending = 0

    def submit(self, call: Call, done: Done) -> None:
        self.pending += 1
        self.calls.append((call, done))

    @property
    def call(self) -> Any:
        """The call under way."""
        return self.calls[0][0]

    @property
    def asked(self) -> str | None:
        """The name of the function under way, if any."""
        if not self.calls:
            return None
        call: Any = self.calls[0][0]
        return str(call.func.__name__ if isinstance(call, partial) else call.__name__)

    def answer(self, result: Any) -> None:
        """End the call under way."""
        _, done = self.calls.pop(0)
        self.pending -= 1
        done(result)


def config_of(**values: Any) -> QueueConfig:
    """Return the settings of the default queue, with one worker unless told otherwise."""
    return queues.queue_config(**{"workers_count": 1, **values})


def task(
    task_id: int,
    processor: str = "Letter",
    *,
    arguments: str = ARGUMENTS,
    priority: int = 10,
    attempts: int = 0,
    retries: int = 0,
    postpones: int = 0,
    crashes: int = 0,
    wait: float = 0.0,
    context: str | None = None,
    token: int = 1,
) -> TaskRow:
    """Return a claimed task as its claim returns it."""
    return (
        task_id,
        processor,
        arguments,
        priority,
        attempts,
        retries,
        postpones,
        crashes,
        wait,
        context,
        token,
    )


def wait_until(condition: Callable[[], T], seconds: float = PATIENCE_SECONDS) -> T:
    """Return the first true value of ``condition``; fail when it takes longer than ``seconds``."""
    deadline = time.monotonic() + seconds
    while not (value := condition()):
        assert time.monotonic() < deadline, f"not within {seconds} s: {condition}"
        time.sleep(0.002)
    return value
