"""How lines reach standard output or a file: each in one write, and never at a task's cost."""

import logging
import os
import sys
import time
from abc import ABC, abstractmethod
from collections.abc import Callable
from pathlib import Path
from typing import Final

from django_partisan.logs import trouble

CHECK_SECONDS: Final = 1.0
"""A file is looked for at most this often, to see whether it was rotated."""


class LineHandler(logging.Handler, ABC):
    """Write each record as one line with one system call, which keeps lines of many processes whole.

    A line that cannot be written is counted and told now and then; nothing is raised.
    """

    def __init__(self) -> None:
        super().__init__()
        self._is_torn = False

    def emit(self, record: logging.LogRecord) -> None:
        """Format and write a record."""
        try:
            self._write(f"{self.format(record)}\n".encode("utf-8", "replace"))
        except Exception:
            self._note_loss()

    def write_line(self, line: str) -> None:
        """Write a line that is formatted already, under the lock, as ``handle()`` does a record."""
        self.acquire()
        try:
            self._write(f"{line}\n".encode("utf-8", "replace"))
        except Exception:
            self._note_loss()
        finally:
            self.release()

    @abstractmethod
    def place(self) -> str:
        """Return where the lines go, for messages."""

    @abstractmethod
    def _descriptor(self) -> int:
        """Return the open file descriptor to write to."""

    def _note_loss(self) -> None:
        trouble.note(f"A log line was lost ({self.place()})")

    def _write(self, data: bytes) -> None:
        descriptor = self._descriptor()
        if self._is_torn:  # the rest of the last line is missing: end it, so that this one stays whole
            data = b"\n" + data
        written = os.write(descriptor, data)
        self._is_torn = written < len(data)
        while written < len(data):
            written += os.write(descriptor, data[written:])
        self._is_torn = False


class StandardOutputHandler(LineHandler):
    """Write lines to standard output; to a pipe, lines up to 4,096 bytes stay whole."""

    def place(self) -> str:
        return "standard output"

    def _descriptor(self) -> int:
        # Had the process been started without one, the number would belong to some other file.
        if sys.__stdout__ is None:
            raise OSError("there is no standard output")
        return 1


class AppendingHandler(LineHandler):
    """Append lines to a file, and open it anew once it was renamed or removed."""

    def __init__(self, path: str | os.PathLike[str], clock: Callable[[], float] = time.monotonic) -> None:
        super().__init__()
        self.path = Path(path).absolute()
        self._clock = clock
        self._file: int | None = None
        self._looked_at = 0.0

    def open(self) -> None:
        """Open the file now; raises ``OSError``."""
        flags = os.O_WRONLY | os.O_APPEND | os.O_CREAT | os.O_CLOEXEC
        opened = os.open(self.path, flags, 0o644)
        self._close_file()
        self._file, self._looked_at = opened, self._clock()

    def close(self) -> None:
        """Close the file; a later line opens it again."""
        self.acquire()
        try:
            self._close_file()
        finally:
            self.release()
        super().close()

    def place(self) -> str:
        return str(self.path)

    def _descriptor(self) -> int:
        if self._file is None:
            self.open()
        elif self._clock() - self._looked_at >= CHECK_SECONDS:
            self._looked_at = self._clock()
            if self._was_rotated(self._file):
                self._reopen()
        assert self._file is not None
        return self._file

    def _was_rotated(self, descriptor: int) -> bool:
        try:
            return not os.path.samestat(os.stat(self.path), os.fstat(descriptor))
        except FileNotFoundError:
            return True

    def _reopen(self) -> None:
        """Open the file anew; where that fails the old one goes on being written."""
        try:
            self.open()
        except OSError:
            trouble.note(f"The log file could not be opened anew ({self.place()})")
        else:
            self._is_torn = False

    def _close_file(self) -> None:
        if self._file is not None:
            descriptor, self._file = self._file, None
            os.close(descriptor)
