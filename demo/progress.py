"""Show the progress of tasks in the terminal."""

import os
import shutil
import sys
import textwrap
import time
from dataclasses import dataclass
from typing import TextIO

from django.db.models import Count, Sum

from django_partisan.models import Task

PLAIN_SECONDS = 5.0
"""The seconds between lines if a line cannot be overwritten, as in a file or a pipe."""

BAR_WIDTH = 12

WIDTH = 100
"""The number of columns if it is unknown."""


@dataclass(frozen=True)
class Counts:
    """The numbers of tasks by state, at one time."""

    total: int
    waiting: int
    in_process: int
    completed: int
    failed: int
    retries: int
    postpones: int

    @property
    def done(self) -> int:
        """The number of tasks that have ended."""
        return self.completed + self.failed


def counts() -> Counts:
    """Return the numbers of tasks by state, from the table."""
    rows = Task.objects.values_list("status")
    found = rows.annotate(Count("id"), Sum("retries"), Sum("postpones")).order_by()
    by_status = {status: (number, retries, postpones) for status, number, retries, postpones in found}
    numbers = {status: number for status, (number, _, _) in by_status.items()}
    return Counts(
        total=sum(numbers.values()),
        waiting=numbers.get(Task.STATUS_NEW, 0),
        in_process=numbers.get(Task.STATUS_IN_PROCESS, 0),
        completed=numbers.get(Task.STATUS_FINISHED, 0),
        failed=numbers.get(Task.STATUS_ERROR, 0),
        retries=sum(retries for _, retries, _ in by_status.values()),
        postpones=sum(postpones for _, _, postpones in by_status.values()),
    )


class Terminal:
    """The output of the demo: colors and a changing line in a terminal, plain lines elsewhere."""

    def __init__(self, stream: TextIO = sys.stdout) -> None:
        self._stream = stream
        self._is_terminal = stream.isatty() and os.environ.get("TERM") != "dumb"
        self._colours = self._is_terminal and "NO_COLOR" not in os.environ
        self._has_open_line = False
        self._plain_at = time.monotonic()

    def print_line(self, text: str = "") -> None:
        """Print a line."""
        self.close_line()
        print(text, file=self._stream, flush=True)

    def bold(self, text: str) -> str:
        """Return the text as a heading, if there are colors."""
        return f"\x1b[1m{text}\x1b[0m" if self._colours else text

    def green(self, text: str) -> str:
        """Return the text in green, if there are colors."""
        return f"\x1b[32m{text}\x1b[0m" if self._colours else text

    def red(self, text: str) -> str:
        """Return the text in red, if there are colors."""
        return f"\x1b[31m{text}\x1b[0m" if self._colours else text

    def update(self, text: str) -> None:
        """Show the state: overwrite the last line in a terminal, else print a line every few seconds."""
        if self._is_terminal:
            whole_words = textwrap.shorten(text, self._width, placeholder=" ...")
            print("\r\x1b[K" + whole_words, end="", file=self._stream, flush=True)
            self._has_open_line = True
        elif time.monotonic() - self._plain_at >= PLAIN_SECONDS:
            self._plain_at = time.monotonic()
            self.print_line(text)

    def wrapped(self, head: str, text: str) -> str:
        """Return a text wrapped into lines that are aligned after a prefix."""
        indent = " " * len(head)
        return textwrap.fill(
            text,
            max(self._width, 2 * len(head)),
            initial_indent=head,
            subsequent_indent=indent,
            break_long_words=False,
            break_on_hyphens=False,
        )

    @property
    def _width(self) -> int:
        """The number of columns of a line."""
        return shutil.get_terminal_size((WIDTH, 0)).columns - 1

    def close_line(self) -> None:
        """End the changing line."""
        if self._has_open_line:
            print(file=self._stream, flush=True)
            self._has_open_line = False


def bar(now: Counts) -> str:
    """Return a progress bar of the tasks that have ended."""
    filled = BAR_WIDTH * now.done // (now.total or 1)
    return f"[{'#' * filled}{'.' * (BAR_WIDTH - filled)}] {now.done}/{now.total}"


def line(now: Counts) -> str:
    """Return the state of all tasks in one line."""
    outcomes = f"completed {now.completed}, failed {now.failed}"
    return f"{outcomes}, retried {now.retries}, postponed {now.postpones}"
