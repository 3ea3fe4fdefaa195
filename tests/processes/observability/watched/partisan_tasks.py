"""Tasks that measure, log, enqueue and misbehave."""

import inspect
import os
import signal
import socket
import struct

import structlog
from django.db import DatabaseError, connection, transaction
from opentelemetry import trace

from django_partisan import registry
from django_partisan.config.processor_configs import PostponeConfig
from django_partisan.engine.worker.worker import Worker
from django_partisan.exceptions import PostponeTask
from django_partisan.metrics.custom import CounterMeasure, HistogramMeasure
from django_partisan.models import Task
from django_partisan.processor import BaseTaskProcessor, bulk_delay
from tests.app import journal


class Freely(BaseTaskProcessor):
    UNIQUE_FOR_PARAMS = False


@registry.register
class Measured(Freely):
    """Measure, log, and record the current span."""

    MEASURES = (
        CounterMeasure("mails", "Mails sent.", labels=("country",)),
        CounterMeasure("bytes", "Bytes sent."),
        HistogramMeasure("size_bytes", "Size of a mail.", buckets=(10, 100)),
    )

    def run(self) -> None:
        context = trace.get_current_span().get_span_context()
        self.metrics.inc("mails", country="at")
        self.metrics.inc("bytes", 2.5)
        self.metrics.observe("size_bytes", 50)
        self.log.info("sent %s mails", 1, country="at", customer={"id": 7})
        journal.write(
            "measured", id=self.task.id, trace=f"{context.trace_id:032x}", span=f"{context.span_id:016x}"
        )


@registry.register
class Leaf(Freely):
    """Do nothing, and ignore all arguments."""

    def run(self) -> None:
        pass


@registry.register
class Single(BaseTaskProcessor):
    """Do nothing; equal tasks are duplicates."""

    def run(self) -> None:
        pass


@registry.register
class Enqueue(Freely):
    """Enqueue a task in bulk, one alone, one with a duplicate, and one that the database refuses."""

    def run(self) -> None:
        bulk_delay([Leaf()])
        Leaf().delay()
        with transaction.atomic():  # a manager must not claim it before its duplicate is enqueued
            Single("of itself").delay()
            Single("of itself").delay()
        try:
            with transaction.atomic():
                try:
                    connection.cursor().execute("SELECT 1 / 0")
                except DatabaseError:
                    Leaf("refused").delay()
        except DatabaseError:
            journal.write("refused")


@registry.register
class Requeue(Freely):
    """Requeue the failed tasks of a processor."""

    def run(self) -> None:
        Task.objects.filter(processor_class=self.args[0]).requeue()


@registry.register
class Cancel(Freely):
    """Cancel the unfinished tasks of a processor."""

    def run(self) -> None:
        Task.objects.filter(processor_class=self.args[0]).cancel("by hand")


@registry.register
class PostponeOnce(Freely):
    POSTPONE_CONFIG = PostponeConfig(max_postpones=1)

    def run(self) -> None:
        raise PostponeTask(0, "not yet")


@registry.register
class RaiseClass(Freely):
    """Raise an error of a class that no other task raises."""

    def run(self) -> None:
        raise type(f"Refused{self.args[0]}", (Exception,), {})(f"refused {self.args[0]}")


@registry.register
class ExitProcess(Freely):
    """End the worker without any message, once."""

    def run(self) -> None:
        if self.task.attempt == 1:
            os._exit(3)


@registry.register
class TearMessage(Freely):
    """Send the beginning of a message when the gate is open, then kill the worker, once."""

    def run(self) -> None:
        if self.task.attempt > 1:
            return
        journal.write("tearing", id=self.task.id)
        journal.wait_at(self.args[0])
        with socket.socket(fileno=os.dup(_this_worker()._pipe.fd)) as pipe:
            pipe.setblocking(True)
            pipe.sendall(struct.pack("!I", 1000) + b"torn")
        os.kill(os.getpid(), signal.SIGKILL)


@registry.register
class BindOddly(Freely):
    """Bind and log keys that loggers, log records and ECS use themselves."""

    KEYS = (
        "name",
        "error",
        "event",
        "message",
        "log.level",
        "args",
        "exc_info",
        "level",
        "@timestamp",
        "trace.id",
    )

    def run(self) -> None:
        structlog.contextvars.bind_contextvars(
            **dict.fromkeys(self.KEYS, "odd"), **{"": {1: {2}}, "\0": object()}
        )
        Leaf("enqueued oddly").delay()
        self.log.info("odd keys", **{key: "mine" for key in self.KEYS if key not in ("event", "exc_info")})
        self.log.info("%s wants two %s", "who", unprintable=Unprintable())
        journal.write("bound")


class Unprintable:
    def __repr__(self) -> str:
        raise RuntimeError("no words")


@registry.register
class OfALoudReceiver(Freely):
    """Do nothing; the receiver of the task's signal raises."""

    def run(self) -> None:
        pass


@registry.register
class KeepSecret(Freely):
    """Fail, with secrets only in the arguments."""

    def run(self) -> None:
        raise ValueError("the argument was not to its taste")


def _this_worker() -> Worker:
    """Return the worker that runs this task."""
    frame = inspect.currentframe()
    while frame is not None:
        owner = frame.f_locals.get("self")
        if isinstance(owner, Worker):
            return owner
        frame = frame.f_back
    raise LookupError("no worker runs this task")
