"""Put work in: ``python -m tests.real_parts.live_project.enqueue [NAME COUNT]``, steadily without words."""

import os
import random
import sys
import time
from itertools import count

import django


def steadily() -> None:
    """Enqueue a shop's work, a little every tenth of a second, more in bursts, until ended."""
    from tests.real_parts.live_project import partisan_tasks as shop

    for tick in count():
        burst = 4 if tick % 600 > 500 else 1
        for _ in range(3 * burst):
            shop.SyncStock(random.random()).delay()
        for _ in range(burst):
            shop.SendMail(random.random()).delay()
        if tick % 5 == 0:
            shop.SendInvoice(tick).delay()
        if tick % 20 == 0:
            shop.ImportCatalogue(tick).delay()
        time.sleep(0.1)


def many(name: str, number: int) -> None:
    """Enqueue ``number`` tasks of one processor."""
    from django_partisan import registry
    from django_partisan.processor import bulk_delay

    bulk_delay(registry.definitions[name].source(index) for index in range(number))


if __name__ == "__main__":
    os.environ.setdefault("DJANGO_SETTINGS_MODULE", "tests.real_parts.live_project.settings")
    django.setup()
    if len(sys.argv) > 1:
        many(sys.argv[1], int(sys.argv[2]))
    else:
        steadily()
