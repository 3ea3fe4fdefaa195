"""The work of a shop, and tasks that misbehave as a fault asks."""

import os
import signal
import time
from pathlib import Path

from django_partisan import registry
from django_partisan.config.processor_configs import ErrorsHandleConfig, PostponeConfig
from django_partisan.exceptions import PostponeTask
from django_partisan.processor import BaseTaskProcessor


class OfTheShop(BaseTaskProcessor):
    """What the tasks of the shop have in common."""

    QUEUE_NAME = "shop"
    UNIQUE_FOR_PARAMS = False


@registry.register
class Serve(OfTheShop):
    """Do a little work: the steady load of every site."""

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
    """Nap where tasks may wait for half a minute."""

    QUEUE_NAME = "hurried"


@registry.register
class HurriedLast(Nap):
    """Nap after every other task of its queue."""

    QUEUE_NAME = "hurried"
    PRIORITY = 100


@registry.register
class UrgentNap(Nap):
    """Nap where tasks may wait for six seconds."""

    QUEUE_NAME = "urgent"


@registry.register
class Render(OfTheShop):
    """Kill the worker."""

    def run(self) -> None:
        os.kill(os.getpid(), signal.SIGKILL)


@registry.register
class Convert(Render):
    """Kill the worker, too."""


@registry.register
class Fetch(OfTheShop):
    """Fail each time, and be retried."""

    RETRY_ON_ERROR_CONFIG = ErrorsHandleConfig([ConnectionError], retries_count=10_000, retry_pause=0.2)

    def run(self) -> None:
        raise ConnectionResetError("the mirror hung up")


@registry.register
class Poll(OfTheShop):
    """Be postponed each time."""

    POSTPONE_CONFIG = PostponeConfig(max_postpones=None)

    def run(self) -> None:
        raise PostponeTask(0.2, "nothing new")


@registry.register
class Reindex(OfTheShop):
    """Run once, however often the same call is enqueued while it waits."""

    UNIQUE_FOR_PARAMS = True

    def run(self) -> None:
        time.sleep(0.005)


@registry.register
class Order(OfTheShop):
    """Enqueue what follows from an order."""

    def run(self) -> None:
        Serve().delay()


@registry.register
class Load(OfTheShop):
    """Hold as many megabytes as the first argument says for as many seconds as the second."""

    def run(self) -> None:
        megabytes, seconds = self.args
        held = b"x" * (megabytes << 20)
        time.sleep(seconds)
        del held


@registry.register
class Report(OfTheShop):
    """Enqueued for a queue that no manager serves."""

    QUEUE_NAME = "reports"

    def run(self) -> None:
        pass


@registry.register
class Nightly(OfTheShop):
    """Fail while a file says that its source is down."""

    def run(self) -> None:
        if Path(os.environ["GAME_DAY_FOLDER"], "source-is-down").exists():
            raise RuntimeError("the source is down")
