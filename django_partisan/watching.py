"""Who watches in which kind of process: the subscribers, put together in one place.

The application's processes log. A manager logs, traces and counts, and serves what its workers
counted; a worker logs, traces and counts as its manager tells it.
"""

import argparse
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

from django_partisan import logs
from django_partisan.conf import QueueConfig
from django_partisan.facts import Snapshot
from django_partisan.serving import SpecOfWorker


def add_arguments(parser: argparse.ArgumentParser, spellings: Callable[[str], list[str]]) -> None:
    """Declare the options that say who watches."""
    group = parser.add_argument_group("watching")
    group.add_argument(*spellings("metrics_port"), type=int)
    group.add_argument(*spellings("log_format"), default="auto", choices=logs.FORMATS)
    group.add_argument(*spellings("log_file"))


class Watch:
    def __init__(self, config: QueueConfig, options: dict[str, Any]) -> None:
        import os

        self.metrics_address: str | None = None
        plain = {"log_format": options["log_format"], "log_file": options["log_file"]}
        self.spec_of_worker = SpecOfWorker(
            config, os.getpid(), ("django_partisan.watching.watch_worker", plain), 5.0
        )

    def serve_metrics(self, snapshot: Callable[[], Snapshot]) -> None:
        pass


@contextmanager
def manager_watched(config: QueueConfig, options: dict[str, Any], stderr: Any) -> Iterator[Watch]:
    logs.setup("manager", options["log_format"], options["log_file"])
    yield Watch(config, options)


def watch_worker(spec: Any, log_format: str, log_file: str | None) -> None:  # pragma: no cover: child process
    logs.setup("worker", log_format, log_file)
