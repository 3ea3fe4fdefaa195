"""Enqueue tasks continuously for the demo's manager in compose.yaml: ``python -m deploy.compose.traffic``."""

import os
import random
import time
from itertools import count

import django

FILES_A_SECOND = 5
BROKEN_EVERY_SECONDS = 30


def main() -> None:
    """Enqueue some files per second, and every 30 seconds one that is not Python, until stopped."""
    os.environ.setdefault("DJANGO_SETTINGS_MODULE", "demo.settings")
    django.setup()

    from demo import library
    from demo.partisan_tasks import IndexFile, WriteReport
    from django_partisan.processor import bulk_delay

    files = library.python_files()
    for second in count():
        bulk_delay([IndexFile(path=path) for path in random.sample(files, FILES_A_SECOND)])
        if second % BROKEN_EVERY_SECONDS == 0:
            IndexFile(path=__file__.removesuffix("traffic.py") + "Dockerfile").delay()
            WriteReport().delay()
        time.sleep(1)


if __name__ == "__main__":
    main()
