"""The processors; `kinds.py` defines how their tasks must end."""

import os
import signal
import time
import uuid
from abc import ABC, abstractmethod
from collections.abc import Iterator
from contextlib import contextmanager

from django.db import Error

from django_partisan import registry
from django_partisan.config.processor_configs import ErrorsHandleConfig, PostponeConfig
from django_partisan.exceptions import PostponeTask
from django_partisan.processor import BaseTaskProcessor
from tools.chaos import journal
from tools.chaos.app.models import Effect
from tools.chaos.kinds import MAX_POSTPONES, MAX_RETRIES, POSTPONE_SECONDS, RETRY_SECONDS
from tools.chaos.schedules import TASK_SECONDS

MANY = 1_000_000


class Refused(Exception):
    """An error that is retried."""


@contextmanager
def _end_journaled(nonce: str) -> Iterator[None]:
    how = "completed"
    try:
        yield
    except PostponeTask:
        how = "postponed"
        raise
    except BaseException as error:
        how = type(error).__name__
        raise
    finally:
        journal.write("ended", run=nonce, how=how)


class Journaled(BaseTaskProcessor, ABC):
    """A processor that writes the start and the end of its runs to the journal."""

    UNIQUE_FOR_PARAMS = False

    def run(self) -> None:
        self.nonce = uuid.uuid4().hex
        task = self.task
        journal.write(
            "begun", run=self.nonce, id=task.id, key=self.key, attempt=task.attempt,
            postpones=task.postpones, retries=task.retries, manager=os.getpgrp(),
            clock=time.clock_gettime(time.CLOCK_REALTIME),  # time() may be wrong
        )  # fmt: skip
        with _end_journaled(self.nonce):
            self.work(float(self.args[-1]))

    @property
    def key(self) -> str:
        """The first argument; for a unique kind, it is made of the kind and the amount."""
        return str(self.args[0])

    @abstractmethod
    def work(self, amount: float) -> None:
        """Do the work."""


@registry.register
class Ticked(BaseTaskProcessor):
    """The task of a schedule's ticks."""

    UNIQUE_FOR_PARAMS = False

    def run(self) -> None:
        [schedule] = self.args
        assert self.task.scheduled_for is not None
        moment, nonce = self.task.scheduled_for.timestamp(), uuid.uuid4().hex
        journal.write("ticked", run=nonce, schedule=schedule, scheduled_for=moment, id=self.task.id)
        with _end_journaled(nonce):
            self.work()

    def work(self) -> None:
        """Do nothing."""


@registry.register
class SlowlyTicked(Ticked):
    """Still run when the next tick is due."""

    def work(self) -> None:
        time.sleep(TASK_SECONDS)


@registry.register
class UniquelyTicked(Ticked):
    """Wait again when the next tick is due, whose task is then a duplicate."""

    UNIQUE_FOR_PARAMS = True

    def work(self) -> None:
        if not self.task.postpones:
            raise PostponeTask(TASK_SECONDS)


@registry.register
class Instant(Journaled):
    def work(self, amount: float) -> None:
        """Do nothing."""


@registry.register
class Nap(Journaled):
    def work(self, amount: float) -> None:
        time.sleep(amount)


@registry.register
class Long(Nap):
    """Sleep for about as long as a lease."""


@registry.register
class Postponing(Journaled):
    POSTPONE_CONFIG = PostponeConfig(max_postpones=MAX_POSTPONES)

    def work(self, amount: float) -> None:
        if self.task.postpones < amount:
            raise PostponeTask(POSTPONE_SECONDS)


@registry.register
class Retrying(Journaled):
    RETRY_ON_ERROR_CONFIG = ErrorsHandleConfig(
        [Refused], retries_count=MAX_RETRIES, retry_pause=RETRY_SECONDS
    )

    def work(self, amount: float) -> None:
        if self.task.retries < amount:
            raise Refused


@registry.register
class Failing(Journaled):
    def work(self, amount: float) -> None:
        raise ValueError("as asked")


@registry.register
class Dying(Journaled):
    """Kill the worker in each of the first runs."""

    def work(self, amount: float) -> None:
        if self.task.attempt <= amount:
            journal.write("killed", killed=os.getpid())
            os.kill(os.getpid(), signal.SIGKILL)


@registry.register
class Unique(Nap):
    UNIQUE_FOR_PARAMS = True

    def work(self, amount: float) -> None:
        time.sleep(0.02)


@registry.register
class UniquePostponing(Journaled):
    """Postpone once; a duplicate may be waiting by then."""

    UNIQUE_FOR_PARAMS = True

    def work(self, amount: float) -> None:
        time.sleep(0.02)
        if not self.task.postpones:
            raise PostponeTask(POSTPONE_SECONDS)


class WritesAtomically(Journaled):
    """Write in the transaction that completes the task. A lost connection does not fail the task."""

    ATOMIC = True
    RETRY_ON_ERROR_CONFIG = ErrorsHandleConfig([Error], retries_count=MANY, retry_pause=RETRY_SECONDS)

    def write_effect(self) -> None:
        Effect.objects.create(key=self.key, run=self.nonce)


@registry.register
class AtomicCompleting(WritesAtomically):
    def work(self, amount: float) -> None:
        self.write_effect()
        time.sleep(amount)


@registry.register
class AtomicPostponing(WritesAtomically):
    def work(self, amount: float) -> None:
        self.write_effect()
        if self.task.postpones < amount:
            raise PostponeTask(POSTPONE_SECONDS)


@registry.register
class AtomicFailing(WritesAtomically):
    def work(self, amount: float) -> None:
        self.write_effect()
        raise ValueError("as asked")
