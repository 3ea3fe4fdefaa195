"""Write log lines to standard output, standard error or a file, without waiting for a reader."""

import logging
import os
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Final

from django_partisan.logs import channels, write_errors
from django_partisan.logs.channels import Channel
from django_partisan.logs.line_writer import LineWriter

CHECK_SECONDS: Final = 1.0
"""The shortest time between checks for a rotated file, which is then reopened."""
OPEN_FLAGS: Final = os.O_APPEND | os.O_CREAT | channels.WRITE_FLAGS
_STREAMS: Final = {
    1: ("standard output", "__stdout__", logging.NOTSET),
    2: ("standard error", "__stderr__", logging.WARNING),  # the level of the last-resort handler
}
"""By descriptor, the place for messages, the attribute of ``sys`` and the level of a standard stream."""


class LineHandler(logging.Handler):
    """A handler that writes each line with one system call, which keeps lines of many processes whole.

    A line that cannot be written is counted and reported at most once a minute; no exception is raised.
    ``place`` is the destination, for messages.
    """

    def __init__(self, channel: Callable[[], Channel], place: str) -> None:
        super().__init__()
        self.writer = LineWriter(channel, place)
        self._opened: Channel | None = None

    def emit(self, record: logging.LogRecord) -> None:
        """Format and write a record."""
        try:
            self.write_line(self.format(record))
        except Exception:
            self._note_loss()

    def write_line(self, line: str) -> None:
        """Write a line that is already formatted."""
        try:
            self.writer.write(line)
        except Exception:
            self._note_loss()

    def close(self) -> None:
        """Close the open file, unless lines are kept for it; a later line opens it again."""
        self.writer.close(self._close_opened)
        super().close()

    def _close_opened(self) -> None:
        if self._opened is not None:
            self._opened.close()
            self._opened = None

    def _note_loss(self) -> None:
        write_errors.note(f"A log line could not be written to {self.writer.place}")


class StandardStreamHandler(LineHandler):
    """A handler for standard output (``fd`` is 1) or standard error (2), which gets only warnings and errors.

    In a pipe, lines of up to 4,096 bytes stay whole.
    """

    def __init__(self, fd: int) -> None:
        place, self._stream, level = _STREAMS[fd]
        super().__init__(self._channel, place)
        self.setLevel(level)
        self.fd = fd

    def _channel(self) -> Channel:
        if self._opened is None:
            # If the process was started without the stream, its descriptor belongs to another file.
            if getattr(sys, self._stream) is None:
                raise OSError(f"there is no {self.writer.place}")
            self._opened = channels.channel_to(self.fd)
        return self._opened


class AppendingHandler(LineHandler):
    """A handler that appends lines to a file or FIFO, and reopens the path if it was renamed or removed."""

    def __init__(self, path: str | os.PathLike[str], clock: Callable[[], float] = time.monotonic) -> None:
        self.path = Path(path).absolute()
        super().__init__(self._channel, str(self.path))
        self._clock = clock
        self._checked_at = 0.0

    def open(self) -> Channel:
        """Open the file that is currently at the path; raises ``OSError``."""
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
                write_errors.note(f"The log file {self.writer.place} could not be opened again")
        return self._opened
