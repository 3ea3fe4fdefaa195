"""The handlers that write lines to standard output, standard error or a file; none waits for a reader."""

import errno
import logging
import os
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Final

from django_partisan.logs import channels, trouble
from django_partisan.logs.channels import Channel
from django_partisan.logs.line_writer import LineWriter

CHECK_SECONDS: Final = 1.0
"""How often a file is checked for rotation at most, and then opened again."""
OPEN_FLAGS: Final = os.O_APPEND | os.O_CREAT | channels.WRITE_FLAGS


class LineHandler(logging.Handler):
    """Write each record as one line with one system call, which keeps lines of many processes whole.

    A line that cannot be written is counted and reported at most once a minute; nothing is raised.
    ``place`` says in messages where the lines go.
    """

    def __init__(self, channel: Callable[[], Channel], place: str) -> None:
        super().__init__()
        self.place = place
        self._writer = LineWriter(channel, place)
        self._opened: Channel | None = None

    def emit(self, record: logging.LogRecord) -> None:
        """Format and write a record."""
        try:
            self._writer.write(self.format(record))
        except Exception:
            self._note_loss()

    def write_line(self, line: str) -> None:
        """Write a line that is formatted already."""
        try:
            self._writer.write(line)
        except Exception:
            self._note_loss()

    def drain(self, timeout: float) -> bool:
        """Wait until every line is written; return False if ``timeout`` seconds were not enough."""
        return self._writer.drain(timeout)

    def drop_kept(self) -> None:
        """Drop the lines that are not written yet."""
        self._writer.drop_kept()

    def close(self) -> None:
        """Close what is open, unless lines are kept for it; a later line opens it again."""
        self._writer.close(self._close_opened)
        super().close()

    def _close_opened(self) -> None:
        if self._opened is not None:
            self._opened.close()
            self._opened = None

    def _note_loss(self) -> None:
        trouble.note(f"A log line could not be written to {self.place}")


class StandardStreamHandler(LineHandler):
    """Write lines to a standard stream; to a pipe, lines up to 4,096 bytes stay whole."""

    def __init__(self, fd: int, stream: str, place: str) -> None:
        super().__init__(self._channel, place)
        self._fd = fd
        self._stream = stream

    def _channel(self) -> Channel:
        if self._opened is None:
            # Had the process been started without one, the number would belong to some other file.
            if getattr(sys, self._stream) is None:
                raise OSError(f"there is no {self.place}")
            self._opened = channels.channel_to(self._fd)
        return self._opened


class StandardOutputHandler(StandardStreamHandler):
    """Write lines to standard output."""

    def __init__(self) -> None:
        super().__init__(1, "__stdout__", "standard output")


class StandardErrorHandler(StandardStreamHandler):
    """Write warnings to standard error, as the handler of last resort does."""

    def __init__(self) -> None:
        super().__init__(2, "__stderr__", "standard error")
        self.setLevel(logging.WARNING)


class AppendingHandler(LineHandler):
    """Append lines to a file or FIFO, and to the new file after it was renamed or removed."""

    def __init__(self, path: str | os.PathLike[str], clock: Callable[[], float] = time.monotonic) -> None:
        self.path = Path(path).absolute()
        super().__init__(self._channel, str(self.path))
        self._clock = clock
        self._checked_at = 0.0

    def open(self) -> Channel:
        """Open the file that is now at the path; raises ``OSError``."""
        fd = os.open(self.path, OPEN_FLAGS, 0o644)
        self._close_opened()
        self._opened, self._checked_at = channels.owned(fd), self._clock()
        return self._opened

    def _channel(self) -> Channel:
        if self._opened is None:
            return self.open()
        if self._clock() - self._checked_at >= CHECK_SECONDS:
            self._checked_at = self._clock()
            try:
                if not self.path.exists() or not os.path.samestat(
                    self.path.stat(), os.fstat(self._opened.fd)
                ):
                    return self.open()
            except OSError:
                trouble.note(f"The log file {self.place} could not be opened again")
        return self._opened


def why_not_opened(error: OSError) -> str:
    """Return what to do about a file that could not be opened."""
    if error.errno == errno.ENXIO:
        return "nobody reads this FIFO. Start its reader first."
    return f"{error.strerror}. Name a file that can be written."
