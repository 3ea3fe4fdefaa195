"""Handle the signals of a manager's process, from the start of the command to its end.

| signal | effect |
|---|---|
| TERM, INT, HUP | before the manager serves, end the command; then drain, and the next time end by force |
| QUIT | log the stack of every thread, and continue |

A process with PID 1 receives only signals for which it has a handler. HUP never forces the end, and it stays
ignored if it was ignored at the start, for example by ``nohup``. A handler only records its signal, in the
main thread.
"""

import queue
import signal
import threading
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager, suppress
from types import FrameType
from typing import Final, TypeVar

from django_partisan.engine import thread_stacks

T = TypeVar("T")

STOPPING: Final = (signal.SIGTERM, signal.SIGINT, signal.SIGHUP)
_NO_SIGNAL: Final = ""
"""Marks the end of a call in the queue of signal names."""
_LONGEST_WAIT_SECONDS: Final = 0.2
"""The longest wait before recorded signals are checked again.

A signal does not interrupt a wait that begins just after it, nor the main thread's wait if another thread
receives it.
"""


class StopRequested(Exception):
    """A stop signal arrived before the manager served; the message is the signal's name."""


class ProcessSignals:
    """The stop signals of a process, recorded until the manager runs and then passed to it."""

    def __init__(self) -> None:
        # Unlike an event, this is reentrant: a handler may interrupt the thread that waits for it.
        self._noted: queue.SimpleQueue[str] = queue.SimpleQueue()
        self._forward: Callable[[str], None] = self._noted.put

    @contextmanager
    def handled(self) -> Iterator[None]:
        """Install the handlers; restore the previous ones afterwards."""
        if threading.current_thread() is not threading.main_thread():
            yield  # Django's reloader handles signals in the main thread, and ends the process
            return
        handlers = dict.fromkeys(STOPPING, self._on_signal) | {signal.SIGQUIT: thread_stacks.report}
        if signal.getsignal(signal.SIGHUP) is signal.SIG_IGN:
            del handlers[signal.SIGHUP]
        with ExitStack() as before:
            for number, handler in handlers.items():
                before.callback(signal.signal, number, signal.signal(number, handler))
            yield

    def check(self) -> None:
        """Raise ``StopRequested`` if a stop signal has arrived."""
        if not self._noted.empty():
            raise StopRequested(self._noted.get())

    def result_of(self, call: Callable[[], T]) -> T:
        """Return what ``call`` returns, or raise what it raises; raise ``StopRequested`` on a stop signal.

        The call runs in another thread, which is abandoned on a stop signal: no signal is handled in a thread
        while its database driver waits.
        """
        self.check()
        results: list[T] = []
        errors: list[BaseException] = []

        def run() -> None:
            try:
                results.append(call())
            except BaseException as error:  # raised below, in the caller's thread
                errors.append(error)
            self._noted.put(_NO_SIGNAL)

        threading.Thread(target=run, name="partisan-start", daemon=True).start()
        if name := self._first_noted():
            raise StopRequested(name)
        if errors:
            raise errors[0]
        return results[0]

    def _first_noted(self) -> str:
        while True:
            with suppress(queue.Empty):
                return self._noted.get(timeout=_LONGEST_WAIT_SECONDS)

    @contextmanager
    def forwarded_to(self, forward: Callable[[str], None]) -> Iterator[None]:
        """Call ``forward`` with the name of each stop signal, including those received before."""
        self._forward = forward
        while not self._noted.empty():
            forward(self._noted.get())
        try:
            yield
        finally:
            self._forward = self._noted.put

    def _on_signal(self, number: int, frame: FrameType | None) -> None:
        self._forward(signal.Signals(number).name)
