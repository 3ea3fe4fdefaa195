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
"""How often a file is checked for rotation at most, and then opened again."""


class LineHandler(logging.Handler, ABC):
    """Write each record as one line with one system call, which keeps lines of many processes whole.

    A line that cannot be written is counted and reported at most once a minute; nothing is raised.
    """

    place: str
    """Where the lines go, for messages."""

    def __init__(self) -> None:
        super().__init__()
        self._is_torn = False

    def emit(self, record: logging.LogRecord) -> None:
        """Format and write a record."""
        try:
            self._write(self.format(record))
        except Exception:
            self._note_loss()

    def write_line(self, line: str) -> None:
        """Write a line that is formatted already, under the lock, as ``handle()`` does a record."""
        self.acquire()
        try:
            self._write(line)
        except Exception:
            self._note_loss()
        finally:
            self.release()

    @abstractmethod
    def _descriptor(self) -> int:
        """Return the open file descriptor to write to."""

    def _note_loss(self) -> None:
        trouble.note(f"A log line could not be written to {self.place}")

    def _write(self, line: str) -> None:
        data = f"{line}\n".encode("utf-8", "replace")
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

    place = "standard output"

    def _descriptor(self) -> int:
        # Had the process been started without one, the number would belong to some other file.
        if sys.__stdout__ is None:
            raise OSError("there is no standard output")
        return 1


class AppendingHandler(LineHandler):
    """Append lines to a file, and to the new file after it was renamed or removed."""

    def __init__(self, path: str | os.PathLike[str], clock: Callable[[], float] = time.monotonic) -> None:
        super().__init__()
        self.path = Path(path).absolute()
        self.place = str(self.path)
        self._clock = clock
        self._file: int | None = None
        self._checked_at = 0.0

    def open(self) -> int:
        """Open the file that is now at the path, and return its descriptor; raises ``OSError``."""
        opened = os.open(self.path, os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o644)
        if self._file is not None:
            os.close(self._file)
            self._is_torn = False
        self._file, self._checked_at = opened, self._clock()
        return opened

    def close(self) -> None:
        """Close the file; a later line opens it again."""
        self.acquire()
        try:
            if self._file is not None:
                os.close(self._file)
                self._file = None
        finally:
            self.release()
        super().close()

    def _descriptor(self) -> int:
        if self._file is None:
            return self.open()
        if self._clock() - self._checked_at >= CHECK_SECONDS:
            self._checked_at = self._clock()
            try:
                if not self.path.exists() or not os.path.samestat(self.path.stat(), os.fstat(self._file)):
                    return self.open()
            except OSError:
                trouble.note(f"The log file {self.place} could not be opened again")
        return self._file
