"""Processors whose runs take longer than their time limit."""

import ctypes
import logging
import subprocess
import time
from asyncio import CancelledError, sleep
from collections.abc import Callable
from typing import Any, NoReturn

from django.db import connection

from django_partisan import registry
from django_partisan.config.processor_configs import ErrorsHandleConfig
from django_partisan.processor import BaseTaskProcessor
from tests.app import journal
from tests.app.models import Note

LIMIT_SECONDS = 0.3
LOCK = 4711
"""The advisory lock that a run waits for."""
_AGES = 3600


def _loop() -> NoReturn:
    while True:
        pass


def _swallow() -> NoReturn:
    while True:
        try:
            time.sleep(0.01)
        except Exception:
            journal.write("swallowed")


def _swallow_everything() -> None:
    try:
        time.sleep(_AGES)
    except BaseException as error:
        journal.write("swallowed", error=type(error).__name__)


def _log() -> NoReturn:
    while True:
        logging.getLogger("shop").warning("%s", sum(range(20_000)))


def wait_for_lock() -> None:
    """Wait in PostgreSQL while the test holds the lock."""
    with connection.cursor() as cursor:
        cursor.execute("SELECT pg_advisory_lock(%s)", (LOCK,))


def _clean_up() -> None:
    try:
        wait_for_lock()
    finally:
        Note.objects.create(text="cleaned up")


WAYS: dict[str, Callable[[], Any]] = {
    "sleep": lambda: time.sleep(_AGES),
    "loop": _loop,
    "hold the interpreter": lambda: ctypes.PyDLL(None).sleep(_AGES),
    "swallow": _swallow,
    "swallow everything": _swallow_everything,
    "wait for a program": lambda: subprocess.run(["sleep", str(_AGES)], check=True),
    "wait for a lock": wait_for_lock,
    "clean up": _clean_up,
    "log": _log,
}


class Overrunning(BaseTaskProcessor):
    """Take an hour, in the given way."""

    UNIQUE_FOR_PARAMS = False

    def run(self) -> None:
        with journal.recorded(self):
            WAYS[self.args[0]]()


@registry.register
class Unlimited(Overrunning):
    """Take an hour, without a time limit."""


@registry.register
class Limited(Overrunning):
    TIMEOUT_SECONDS = LIMIT_SECONDS


@registry.register
class LimitedAndAtomic(Overrunning):
    """Take an hour in a transaction, after writing a note."""

    ATOMIC = True
    TIMEOUT_SECONDS = LIMIT_SECONDS

    def run(self) -> None:
        Note.objects.create(text=self.args[0])
        if self.args[0] in WAYS:
            super().run()


@registry.register
class LimitedAndRetried(Overrunning):
    RETRY_ON_ERROR_CONFIG = ErrorsHandleConfig([TimeoutError], retries_count=1, retry_pause=0)
    TIMEOUT_SECONDS = LIMIT_SECONDS

    def run(self) -> None:
        if not self.task.retries:
            super().run()


@registry.register
class LimitedAsynchronously(BaseTaskProcessor):
    """Wait in a coroutine, and record the cancellation raised there."""

    TIMEOUT_SECONDS = LIMIT_SECONDS

    async def run(self) -> None:
        try:
            await sleep(_AGES)
        except CancelledError:
            note = await Note.objects.acreate(text="cleaned up")
            journal.write("cancelled", note=note.pk)
            if self.args[0] != "return":
                raise


@registry.register
class EndAboutTheLimit(BaseTaskProcessor):
    """Run for about as long as its time limit."""

    UNIQUE_FOR_PARAMS = False
    TIMEOUT_SECONDS = 0.01

    def run(self) -> None:
        time.sleep(self.args[1])


@registry.register
class EndInTime(BaseTaskProcessor):
    """Run for the same time, without a limit."""

    UNIQUE_FOR_PARAMS = False

    def run(self) -> None:
        time.sleep(self.args[1])
