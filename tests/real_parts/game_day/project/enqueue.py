"""Enqueue the tasks that standard input requests, until it ends; continue when the database refuses.

Each line is a JSON object: ``{"processor": NAME, "args": [...], "count": 5}`` enqueues at once, and
``{"processor": NAME, "args": [...], "per_second": 5}`` steadily from now on; 0 stops it.
"""

import json
import os
import queue
import sys
import threading
import time
from dataclasses import dataclass, field
from typing import Any, Final

import django

TURN_SECONDS: Final = 0.1


@dataclass
class Stream:
    """A steady stream of tasks."""

    processor: str
    args: list[Any]
    per_second: float
    owed: float = field(default=0.0)

    def due(self) -> int:
        """Return how many tasks to enqueue in this turn; tasks missed in an outage are not made up for."""
        self.owed += self.per_second * TURN_SECONDS
        whole = int(self.owed)
        self.owed -= whole
        return whole


def main() -> None:
    """Enqueue until standard input ends."""
    _register_newest()
    orders: queue.SimpleQueue[dict[str, Any] | None] = queue.SimpleQueue()
    threading.Thread(target=_read, args=(orders,), daemon=True).start()
    streams: dict[str, Stream] = {}
    while True:
        while not orders.empty():
            order = orders.get()
            if order is None:
                return
            if "count" in order:
                _enqueue(order["processor"], order["args"], order["count"])
            else:
                streams[json.dumps([order["processor"], order["args"]])] = Stream(**order)
        for stream in streams.values():
            _enqueue(stream.processor, stream.args, stream.due())
        time.sleep(TURN_SECONDS)


def _register_newest() -> None:
    """Register a processor unknown to managers, as if this process had newer code."""
    from django_partisan import registry
    from tests.real_parts.game_day.project.partisan_tasks import OfTheShop

    @registry.register
    class Announce(OfTheShop):
        def run(self) -> None:
            pass


def _read(orders: "queue.SimpleQueue[dict[str, Any] | None]") -> None:
    for line in sys.stdin:
        orders.put(json.loads(line))
    orders.put(None)


def _enqueue(processor: str, args: list[Any], count: int) -> None:
    from django.db import DatabaseError, connection

    from django_partisan import registry

    try:
        for _ in range(count):
            registry.definitions[processor].source(*args).delay()
    except DatabaseError as error:
        print(f"not enqueued: {processor}: {error}", file=sys.stderr, flush=True)
        connection.close()


if __name__ == "__main__":
    os.environ.setdefault("DJANGO_SETTINGS_MODULE", "tests.real_parts.game_day.project.settings")
    django.setup()
    main()
