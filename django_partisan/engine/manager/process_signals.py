"""The signals of a manager's process, from the start of the command to its end.

| signal | asks to |
|---|---|
| TERM, INT, HUP | stop: before the manager serves, the command ends; then it drains, and ends by force |
| QUIT | log the stack of every thread, and go on |

As PID 1, a process gets only those signals for which it has a handler. HUP never forces, and stays ignored
where it was ignored at the start, as by ``nohup``. A handler only notes its signal, in the main thread.
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
"""Marks the end of a call among the names of signals."""
_LONGEST_WAIT_SECONDS: Final = 0.2
"""A signal interrupts neither a wait that begins just after it nor, in another thread, the main thread's."""


class StopAsked(Exception):
    """A signal asked to stop before the manager served; its name is the message."""


class ProcessSignals:
    """Note the signals that ask to stop, or pass them to the running manager."""

    def __init__(self) -> None:
        # Reentrant, unlike an event: a handler may interrupt a thread that waits for it.
        self._noted: queue.SimpleQueue[str] = queue.SimpleQueue()
        self._ask: Callable[[str], None] = self._noted.put

    @contextmanager
    def handled(self) -> Iterator[None]:
        """Handle the signals; restore their former handlers afterwards."""
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
        """Raise ``StopAsked`` if a signal has asked to stop."""
        if not self._noted.empty():
            raise StopAsked(self._noted.get())

    def result_of(self, call: Callable[[], T]) -> T:
        """Return what ``call`` returns, or raise what it raises; raise ``StopAsked`` when a signal asks.

        The call runs in a thread, which is abandoned then: a database driver that waits handles no signal.
        """
        self.check()
        results: list[T] = []
        errors: list[BaseException] = []

        def run() -> None:
            try:
                results.append(call())
            except BaseException as error:  # raised below, in the thread that asked
                errors.append(error)
            self._noted.put(_NO_SIGNAL)

        threading.Thread(target=run, name="partisan-start", daemon=True).start()
        if name := self._first_noted():
            raise StopAsked(name)
        if errors:
            raise errors[0]
        return results[0]

    def _first_noted(self) -> str:
        while True:
            with suppress(queue.Empty):
                return self._noted.get(timeout=_LONGEST_WAIT_SECONDS)

    @contextmanager
    def given_to(self, ask: Callable[[str], None]) -> Iterator[None]:
        """Call ``ask`` with the name of each signal that asks to stop, including those noted before."""
        self._ask = ask
        while not self._noted.empty():
            ask(self._noted.get())
        try:
            yield
        finally:
            self._ask = self._noted.put

    def _on_signal(self, number: int, frame: FrameType | None) -> None:
        self._ask(signal.Signals(number).name)
