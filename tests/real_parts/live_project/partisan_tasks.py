"""Processors that behave like a shop's, and some that misbehave."""

import os
import random
import signal
import time
from datetime import timedelta

from django.utils import timezone

from django_partisan import registry
from django_partisan.config.processor_configs import ErrorsHandleConfig, PostponeConfig
from django_partisan.exceptions import PostponeTask
from django_partisan.processor import BaseTaskProcessor


@registry.register
class ImportCatalogue(BaseTaskProcessor):
    """Take seconds, and enqueue tasks for others: now, later, and some of them twice."""

    UNIQUE_FOR_PARAMS = False
    PRIORITY = 20

    def run(self) -> None:
        time.sleep(random.uniform(0.5, 2))
        for number in range(5):
            ResizeImage(number).delay()
        soon = timezone.now() + timedelta(seconds=3)
        for _ in range(2):
            ResizeImage("banner").delay(execute_after=soon)


@registry.register
class ResizeImage(BaseTaskProcessor):
    """Use the CPU for some milliseconds."""

    def run(self) -> None:
        end = time.process_time() + random.uniform(0.005, 0.03)
        while time.process_time() < end:
            pass


@registry.register
class SyncStock(BaseTaskProcessor):
    """Finish faster than any scrape interval, and now and then postpone until the other side is ready."""

    UNIQUE_FOR_PARAMS = False

    def run(self) -> None:
        if random.random() < 0.1:
            raise PostponeTask(1, "the warehouse is busy")
        time.sleep(0.002)


@registry.register
class SendMail(BaseTaskProcessor):
    """Fail now and then, and be retried."""

    UNIQUE_FOR_PARAMS = False
    QUEUE_NAME = "mail"
    RETRY_ON_ERROR_CONFIG = ErrorsHandleConfig([ConnectionError], retries_count=2, retry_pause=1)

    def run(self) -> None:
        time.sleep(random.uniform(0.01, 0.08))
        if random.random() < 0.1:
            raise ConnectionResetError("the mail server hung up")


@registry.register
class SendInvoice(BaseTaskProcessor):
    """Fail permanently now and then."""

    UNIQUE_FOR_PARAMS = False
    QUEUE_NAME = "mail"

    def run(self) -> None:
        time.sleep(random.uniform(0.05, 0.2))
        if random.random() < 0.03:
            raise ValueError("the customer has no address")


@registry.register
class Crash(BaseTaskProcessor):
    """Kill the worker that runs it."""

    UNIQUE_FOR_PARAMS = False
    QUEUE_NAME = "crashing"

    def run(self) -> None:
        os.kill(os.getpid(), signal.SIGKILL)


@registry.register
class Fail(BaseTaskProcessor):
    """Fail in every run."""

    UNIQUE_FOR_PARAMS = False
    QUEUE_NAME = "failing"

    def run(self) -> None:
        raise RuntimeError("this never works")


@registry.register
class Nap(BaseTaskProcessor):
    """Occupy a worker without doing anything."""

    UNIQUE_FOR_PARAMS = False
    QUEUE_NAME = "backlog"

    def run(self) -> None:
        time.sleep(0.4)


@registry.register
class NotYet(BaseTaskProcessor):
    """Postpone once more than allowed."""

    QUEUE_NAME = "various"
    POSTPONE_CONFIG = PostponeConfig(max_postpones=1)

    def run(self) -> None:
        raise PostponeTask(0, "not yet")


@registry.register
class Report(BaseTaskProcessor):
    """A task of a queue that no manager serves."""

    QUEUE_NAME = "reports"

    def run(self) -> None:
        pass


@registry.register
class Touch(BaseTaskProcessor):
    """Do nothing."""

    UNIQUE_FOR_PARAMS = False
    QUEUE_NAME = "locked"

    def run(self) -> None:
        pass


@registry.register
class Various(BaseTaskProcessor):
    """End in one of the ways that have their own log lines, depending on the argument."""

    UNIQUE_FOR_PARAMS = False
    QUEUE_NAME = "various"
    RETRY_ON_ERROR_CONFIG = ErrorsHandleConfig([ConnectionError], retries_count=1, retry_pause=0)

    def run(self) -> None:
        number = self.args[0]
        if number == 0:
            os.kill(os.getpid(), signal.SIGKILL)
        if number % 5 == 1:
            self.log.info("said", to="ada@example.org", number=number, at="2026-11-24", client_ip="none")
        elif number % 5 == 2 and not self.task.postpones:
            raise PostponeTask(0, "not yet")
        elif number % 5 == 3:
            raise ConnectionResetError("the other side hung up")
        elif number % 5 == 4:
            raise ValueError('no address: \u00fc\u2028 "quoted"\n' + 3000 * "x")
        if number == 1:
            Various(104).delay()  # this one fails; its lines contain the trace of this run
        for _ in range(2):
            ResizeImage("banner").delay()
