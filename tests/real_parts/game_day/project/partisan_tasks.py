"""The tasks of a shop, and tasks that misbehave as a fault requires."""

import os
import signal
import time
from pathlib import Path

from django_partisan import registry
from django_partisan.config.processor_configs import ErrorsHandleConfig, PostponeConfig
from django_partisan.exceptions import PostponeTask
from django_partisan.processor import BaseTaskProcessor


class OfTheShop(BaseTaskProcessor):
    """Base class of the shop's processors."""

    QUEUE_NAME = "shop"
    UNIQUE_FOR_PARAMS = False


@registry.register
class Serve(OfTheShop):
    """Do a little work, as the steady load of every site."""

    def run(self) -> None:
        time.sleep(0.005)


@registry.register
class Charge(OfTheShop):
    """Fail if the first argument is true."""

    def run(self) -> None:
        if self.args[0]:
            raise ValueError("the card was refused")


@registry.register
class Nap(OfTheShop):
    """Keep a worker for some seconds."""

    def run(self) -> None:
        time.sleep(self.args[0])


@registry.register
class HurriedNap(Nap):
    """Sleep in a queue whose tasks may wait for half a minute."""

    QUEUE_NAME = "hurried"


@registry.register
class HurriedLast(Nap):
    """Sleep in that queue, at a lower priority than all other tasks."""

    QUEUE_NAME = "hurried"
    PRIORITY = 100


@registry.register
class UrgentNap(Nap):
    """Sleep in a queue whose tasks may wait for six seconds."""

    QUEUE_NAME = "urgent"


@registry.register
class Render(OfTheShop):
    """Kill the worker."""

    def run(self) -> None:
        os.kill(os.getpid(), signal.SIGKILL)


@registry.register
class Convert(Render):
    """Kill the worker, as a second kind of task."""


@registry.register
class Fetch(OfTheShop):
    """Fail and be retried in every run."""

    RETRY_ON_ERROR_CONFIG = ErrorsHandleConfig([ConnectionError], retries_count=10_000, retry_pause=0.2)

    def run(self) -> None:
        raise ConnectionResetError("the mirror hung up")


@registry.register
class Poll(OfTheShop):
    """Postpone in every run."""

    POSTPONE_CONFIG = PostponeConfig(max_postpones=None)

    def run(self) -> None:
        raise PostponeTask(0.2, "nothing new")


@registry.register
class Reindex(OfTheShop):
    """A unique task: it runs once, however often the same call is enqueued while it waits."""

    UNIQUE_FOR_PARAMS = True

    def run(self) -> None:
        time.sleep(0.005)


@registry.register
class Order(OfTheShop):
    """Enqueue the follow-up task of an order."""

    def run(self) -> None:
        Serve().delay()


@registry.register
class Load(OfTheShop):
    """Hold as many megabytes as the first argument says, for as many seconds as the second says."""

    def run(self) -> None:
        megabytes, seconds = self.args
        held = b"x" * (megabytes << 20)
        time.sleep(seconds)
        del held


@registry.register
class Report(OfTheShop):
    """A task of a queue that no manager serves."""

    QUEUE_NAME = "reports"

    def run(self) -> None:
        pass


@registry.register
class Nightly(OfTheShop):
    """Fail while a file says that the source is down."""

    def run(self) -> None:
        if Path(os.environ["GAME_DAY_FOLDER"], "source-is-down").exists():
            raise RuntimeError("the source is down")
