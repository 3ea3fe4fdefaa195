"""Write lines to a file whose reader may stop reading: at once, or later if the reader stalls.

| who writes | when |
|---|---|
| the thread that logs, under the lock | no lines are kept |
| the thread ``partisan-log-output``, alone, outside the lock | lines are kept |

So lines keep their order, and the rest of a partly written line follows its beginning.
"""

import os
import select
import threading
import weakref
from collections import deque
from collections.abc import Callable
from typing import Final

from django_partisan.logs import dropped, write_errors
from django_partisan.logs.channels import Channel

BUFFER_BYTES: Final = 4 * 1024 * 1024
"""How many bytes one process keeps while its output stalls: about 4,000 lines."""
_NONE_YET: Final = Channel(-1, len)


class LineWriter:
    """A writer of lines that does not wait for a reader that stalls.

    It writes to the channel that ``channel()`` returns. ``channel`` is called for each line while no lines
    are kept, and may raise ``OSError``.
    """

    def __init__(self, channel: Callable[[], Channel], place: str, buffer_bytes: int = BUFFER_BYTES) -> None:
        self._channel = channel
        self._in_use = _NONE_YET  # stays the same while lines are kept
        self.place = place
        self._buffer_bytes = buffer_bytes
        self._start_empty()
        _writers.add(self)

    def _start_empty(self) -> None:
        self._lock = threading.RLock()  # a signal handler or a finalizer may log, too
        self._changed = threading.Condition(self._lock)
        self._kept: deque[bytes] = deque()
        self._in_hand: list[bytes] = []  # what the thread is writing
        self._bytes = 0  # of the kept lines and those being written
        self._line_end = b""  # a line break if the last line is incomplete, so that the next one stays whole
        self._thread: threading.Thread | None = None

    def write(self, line: str) -> None:
        """Write a line or keep it; if too much is kept, drop and count it. Raises ``OSError``."""
        data = f"{line}\n".encode("utf-8", "replace")
        with self._lock:
            if self._kept or self._in_hand:
                self._keep(data)
                return
            channel = self._channel()
            if channel is not self._in_use:
                self._in_use, self._line_end = channel, b""
            if channel.is_blocking:
                self._keep(data)
            elif rest := self._write(self._line_end + data):
                self._keep(rest)
                self._line_end = b""  # the rest, which is written next, belongs to the incomplete line

    def drain(self, timeout: float) -> bool:
        """Wait until no lines are kept; return False if this takes longer than ``timeout`` seconds."""
        with self._lock:
            return self._changed.wait_for(self._is_empty, timeout)

    def drop_kept(self) -> None:
        """Drop and count the kept lines, except those that are being written."""
        with self._lock:
            if self._kept:
                dropped.count(dropped.OUTPUT_STALLED, len(self._kept))
                self._kept.clear()
                self._bytes = sum(map(len, self._in_hand))

    def close(self, close_file: Callable[[], None]) -> None:
        """Call ``close_file`` between two lines, unless lines are kept, because they need the file."""
        with self._lock:
            if self._is_empty():
                close_file()

    def _is_empty(self) -> bool:
        return not self._kept and not self._in_hand

    def _write(self, data: bytes) -> bytes:
        """Write until the channel would have to wait; return the rest."""
        try:
            while data:
                data = data[self._in_use.write(data) :]
                self._line_end = b"\n" if data else b""
        except BlockingIOError:
            pass
        return data

    def _keep(self, data: bytes) -> None:
        if self._bytes + len(data) > self._buffer_bytes:
            dropped.count(dropped.OUTPUT_STALLED)
            return
        if self._thread is None or not self._thread.is_alive():
            self._thread = threading.Thread(target=self._write_kept, name="partisan-log-output", daemon=True)
            self._thread.start()
        self._kept.append(data)
        self._bytes += len(data)
        self._changed.notify_all()

    def _write_kept(self) -> None:
        while lines := self._next_lines():
            try:
                data = self._line_end + b"".join(lines)
                while data := self._write(data):
                    self._in_use.wait()
            except OSError:
                write_errors.note(f"A log line could not be written to {self.place}", len(lines))
            finally:
                with self._lock:
                    self._bytes -= sum(map(len, lines))
                    self._in_hand = []
                    self._changed.notify_all()

    def _next_lines(self) -> list[bytes]:
        """Return kept lines to write in one piece; an empty list ends the thread."""
        with self._lock:
            self._changed.wait_for(lambda: self._kept or not self._in_use.is_blocking)
            if not self._kept:
                self._thread = None
                return []
            self._in_hand = lines = [self._kept.popleft()]
            size = len(lines[0])
            # Up to this length, a pipe accepts either all bytes or none.
            while self._kept and size + len(self._kept[0]) <= select.PIPE_BUF:
                lines.append(self._kept.popleft())
                size += len(lines[-1])
            return lines


def _forget_kept_lines() -> None:  # pragma: no cover: child process
    """Leave the inherited lines, lock and thread of a forked process to its parent."""
    for writer in _writers:
        writer._start_empty()


_writers: Final["weakref.WeakSet[LineWriter]"] = weakref.WeakSet()
os.register_at_fork(after_in_child=_forget_kept_lines)
