"""The processors that the tests enqueue and run."""

import asyncio
import ctypes
import multiprocessing
import os
import signal
import subprocess
import time
import warnings
from abc import ABC, abstractmethod
from datetime import timedelta, timezone
from typing import Any

from django.db import connection
from django.utils import timezone as django_timezone
from django.utils import translation

from django_partisan import registry
from django_partisan.config import const
from django_partisan.config.processor_configs import ErrorsHandleConfig, PostponeConfig
from django_partisan.exceptions import PostponeTask
from django_partisan.processor import BaseTaskProcessor
from tests.app import (  # noqa: F401 - they register their processors
    child_tasks,
    ending_tasks,
    interrupted_tasks,
    journal,
)
from tests.app.models import Note

if "BREAK_WORKERS" in os.environ and multiprocessing.current_process().name != "MainProcess":
    raise RuntimeError("not in a worker")


class Recorded(BaseTaskProcessor, ABC):
    """A processor whose runs are recorded in the journal; subclasses do the work."""

    UNIQUE_FOR_PARAMS = False

    def run(self) -> None:
        with journal.recorded(self):
            self.work(*self.args, **self.kwargs)

    @abstractmethod
    def work(self, *args: Any, **kwargs: Any) -> None:
        """Do the work."""


@registry.register
class Pass(Recorded):
    """Take some time, and ignore all other arguments."""

    def work(self, *_: Any, seconds: float = 0.0) -> None:
        time.sleep(seconds)


if "KNOWS_NEWCOMER" in os.environ:

    @registry.register
    class Newcomer(Recorded):
        """A processor that only managers with newer code have."""

        def work(self, *_: Any) -> None:
            pass


@registry.register
class Wait(Recorded):
    """Wait until the test opens a gate."""

    def work(self, gate: str, *_: Any) -> None:
        journal.wait_at(gate)


@registry.register
class EnqueueAnother(Recorded):
    """Enqueue a task that takes no time."""

    def work(self) -> None:
        Pass("enqueued").delay()


@registry.register
class WaitBriefly(Wait):
    """Wait at a gate; a processor of its own, so that a test can teach the manager how long its runs take."""


@registry.register
class LeaveChild(Recorded):
    """Fork a process with its own session, which waits at a gate, and wait there as well."""

    def work(self, gate: str) -> None:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", DeprecationWarning)  # Python 3.12: a worker has threads
            child = os.fork()
        if child == 0:
            os.setsid()
            journal.write("forked", child=os.getpid())
            journal.wait_at(gate)
            os._exit(0)
        journal.wait_at(gate)


@registry.register
class HoldInterpreter(Recorded):
    """Sleep in C while holding the GIL."""

    def work(self, seconds: int) -> None:
        ctypes.PyDLL(None).sleep(seconds)


@registry.register
class Fail(Recorded):
    def work(self, message: str) -> None:
        raise ValueError(message)


@registry.register
class Print(Recorded):
    """Print a partial line; unless the output is a terminal, it is written when the worker ends."""

    def work(self, text: str) -> None:
        print(text, end="")


@registry.register
class FailUnprintably(Recorded):
    """Raise an error whose text PostgreSQL cannot store; a lone surrogate cannot be a JSON argument."""

    def work(self) -> None:
        raise ValueError("before\0between\ud800after")


@registry.register
class Exit(Recorded):
    def work(self) -> None:
        raise SystemExit("a task's own idea")


@registry.register
class Die(Recorded):
    """Kill the worker in each of the first ``times`` runs."""

    def work(self, times: int) -> None:
        if self.task.attempt <= times:
            os.kill(os.getpid(), signal.SIGKILL)


@registry.register
class TakeDown(Recorded):
    """Kill the manager and all its workers, as happens to a container that runs out of memory."""

    def work(self) -> None:
        os.killpg(os.getpgid(0), signal.SIGKILL)


@registry.register
class Postpone(Recorded):
    """Postpone the task ``times`` times."""

    def work(self, times: int, seconds: float | None = None) -> None:
        if self.task.postpones < times:
            raise PostponeTask(seconds)


@registry.register
class Twin(Recorded):
    """Postpone once, when the gate is open; a duplicate may exist by then."""

    UNIQUE_FOR_PARAMS = True

    def work(self, gate: str) -> None:
        journal.wait_at(gate)
        if not self.task.postpones:
            raise PostponeTask(0)


@registry.register
class PostponeTwice(Postpone):
    POSTPONE_CONFIG = PostponeConfig(max_postpones=2)


@registry.register
class PostponeForEver(Postpone):
    POSTPONE_CONFIG = PostponeConfig(max_postpones=None)


@registry.register
class PostponeOddly(Recorded):
    """Postpone with a delay that no clock can represent and that is not a valid JSON value."""

    def work(self, kind: str) -> None:
        if kind == "bare":
            raise _Bare
        raise PostponeTask({"huge": 10**400, "negative": -1, "text": "soon", "inf": float("inf")}[kind])  # type: ignore[arg-type]


class _Bare(PostponeTask):
    def __init__(self) -> None:
        """Skip the attributes that the base class sets."""


class _Retried(Recorded):
    """Raise an error that is on the retry list in each of the first ``times`` runs."""

    def work(self, times: int) -> None:
        if self.task.retries < times:
            raise TimeoutError("not this time")


@registry.register
class RetryConstantly(_Retried):
    RETRY_ON_ERROR_CONFIG = ErrorsHandleConfig([TimeoutError], retries_count=3, retry_pause=0.1)


@registry.register
class RetryIncrementally(_Retried):
    RETRY_ON_ERROR_CONFIG = ErrorsHandleConfig(
        retry_on_errors=[TimeoutError],
        retries_count=3,
        retry_pause=0.1,
        retry_pause_strategy=const.DELAY_STRATEGY_INCREMENTAL,
    )


@registry.register
class RetryOthers(Recorded):
    """Raise an error that is not on the retry list."""

    RETRY_ON_ERROR_CONFIG = ErrorsHandleConfig([TimeoutError], retries_count=3, retry_pause=0)

    def work(self) -> None:
        raise KeyError("not on the list")


@registry.register
class OneArgument(BaseTaskProcessor):
    """A processor whose constructor takes exactly one argument."""

    def __init__(self, only: int) -> None:
        super().__init__(only)

    def run(self) -> None:
        journal.write("made", args=self.args)


@registry.register
class Atomic(Recorded):
    """Write a note, then end in the given way, all in one transaction."""

    ATOMIC = True
    RETRY_ON_ERROR_CONFIG = ErrorsHandleConfig([TimeoutError], retries_count=1, retry_pause=0)

    def work(self, how: str) -> None:
        Note.objects.create(text=f"{how} in attempt {self.task.attempt}")
        if self.task.attempt > 1 or how == "complete":
            return
        if how == "leave the schema":
            connection.cursor().execute("SET LOCAL search_path = pg_catalog")
            return
        if how == "postpone":
            raise PostponeTask(0)
        if how == "retry":
            raise TimeoutError
        if how == "fail":
            raise ValueError
        if how == "die":
            os.kill(os.getpid(), signal.SIGKILL)
        journal.wait_at(how)


@registry.register
class LeaveTransactionOpen(Recorded):
    def work(self) -> None:
        connection.set_autocommit(False)
        Note.objects.create(text="never committed")


@registry.register
class WriteNote(Recorded):
    def work(self, text: str) -> None:
        Note.objects.create(text=text)


@registry.register
class Travel(Recorded):
    """Record the language and the time zone, change them, and do not restore them."""

    def work(self) -> None:
        zone = django_timezone.get_current_timezone_name()
        journal.write("place", language=translation.get_language(), zone=zone)
        translation.activate("de")
        django_timezone.activate(timezone(timedelta(hours=5), "elsewhere"))


class RecordedAsynchronously(BaseTaskProcessor):
    """A processor whose ``run()`` is a coroutine function that writes a note, then ends in the given way."""

    UNIQUE_FOR_PARAMS = False

    async def run(self) -> Any:
        await asyncio.sleep(0)
        note = await Note.objects.acreate(text=f"in attempt {self.task.attempt}")
        journal.write("begun", id=self.task.id, zone=django_timezone.get_current_timezone_name())
        django_timezone.activate(timezone(timedelta(hours=5), "elsewhere"))
        how = self.args[0]
        if how == "fail":
            raise ValueError("no luck")
        if how == "exit":
            raise SystemExit("a task's own idea")
        if how == "postpone" and not self.task.postpones:
            raise PostponeTask(0)
        return note.arefresh_from_db() if how == "forget to await" else note.text


@registry.register
class Asynchronous(RecordedAsynchronously):
    """Run the coroutine without a transaction."""


@registry.register
class AsynchronousAndAtomic(RecordedAsynchronously):
    """Run the coroutine with the note and the completion in one transaction."""

    ATOMIC = True


@registry.register
class Measure(BaseTaskProcessor):
    """Record the length of its text instead of the text."""

    def run(self) -> None:
        journal.write("measured", length=len(self.args[0]))


@registry.register
class Mixed(Recorded):
    """Complete in the end, or fail, after a postpone, a retry, or neither."""

    RETRY_ON_ERROR_CONFIG = ErrorsHandleConfig([TimeoutError], retries_count=2, retry_pause=0)

    def work(self, way: str, _: int) -> None:
        if way == "fail":
            raise ValueError("as asked")
        if way == "postpone" and not self.task.postpones:
            raise PostponeTask(0)
        if way == "retry" and not self.task.retries:
            raise TimeoutError
        if way == "exhaust":
            raise TimeoutError


@registry.register
class TellSignals(BaseTaskProcessor):
    """Record which of TERM, INT, HUP and QUIT a program started by a task ignores or blocks."""

    def run(self) -> None:
        shown = subprocess.run(
            ["cat", "/proc/self/status"], capture_output=True, text=True, check=True
        ).stdout
        masks = [
            int(line.split()[1], 16) for line in shown.splitlines() if line.startswith(("SigIgn", "SigBlk"))
        ]
        asked = (signal.SIGTERM, signal.SIGINT, signal.SIGHUP, signal.SIGQUIT)
        kept = [number.name for number in asked if any(mask >> (number - 1) & 1 for mask in masks)]
        journal.write("signals", ignored_or_blocked=kept)
