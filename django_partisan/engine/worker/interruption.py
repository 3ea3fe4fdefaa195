"""Interrupt a run: raise an exception inside ``run()``, and never outside it.

The runner is the main thread, where Python calls signal handlers: a signal wakes a blocking call, and the
handler knows for certain whether ``run()`` is executing. It does not raise where the exception would be
swallowed, such as in a log handler; the signal is sent again until it has raised or the run is over. A signal
does not wake psycopg2: the server is asked to cancel the query, and the handler is called when the error
arrives. psycopg 3 would leave its connection in the middle of the query, so the handler closes it.

| thread | does what |
|---|---|
| main | writes ``run_number`` and ``interruptible``, then reads ``requested``; raises in the signal handler |
| ``partisan-control`` | writes ``requested``, then starts the next |
| ``partisan-interrupt`` | reads ``interruptible``; signals, and cancels the run's queries, under ``_lock`` |

Each side writes before it reads, so one of them always sees what the other has written. Before the main
thread continues after a run, it waits until the other thread is done, so that no query of a later step is
cancelled.
"""

import signal
import threading
import time
from collections.abc import Callable, Iterable, Iterator
from contextlib import suppress
from types import FrameType
from typing import Final

from django.db import InternalError, OperationalError
from django.db.backends.base.base import BaseDatabaseWrapper
from django.db.transaction import TransactionManagementError

from django_partisan import calling
from django_partisan.engine.interrupting import CANCEL, error_of
from django_partisan.engine.protocol import Interrupt
from django_partisan.engine.worker import children
from django_partisan.engine.worker.connection_state import cancel_query, is_active

SIGNAL: Final = signal.SIGURG
"""Ignored by default, so it does no harm in programs that a task starts."""
AGAIN: Final = signal.SIGVTALRM
"""The signal of the timer that triggers the next try. It counts processor time: see ``AGAIN_SECONDS``."""
AGAIN_SECONDS: Final = 0.002
"""How many seconds of processor time pass until the next try.

A thread mostly gets the interpreter's lock while the main thread writes, for example a log line. Without this
timer, the thread's signals would always arrive in log handlers.
"""
PAUSE_SECONDS: Final = 0.005
LONGEST_PAUSE_SECONDS: Final = 0.02
CANCEL_SECONDS: Final = 1.0
"""How many seconds to wait for a database that does not answer a request to cancel a query."""
_FINALIZER: Final = "__del__"
_SWALLOWING: Final = (
    _FINALIZER,
    "django_partisan.engine.worker.children.",  # called at a fork
    "logging.",
    "django_partisan.telemetry.",
    "django_partisan.logs.",
    "django_partisan.tracing.",
    "django_partisan.metrics.",
    "django_partisan.sentry.",
    "django_partisan.signals.",
    "django_partisan.functions.run_signals.",
)
"""Places where Python or telemetry catches exceptions, so that they would not reach the task."""
_DRIVER: Final = "psycopg."
_RUN: Final = ("django_partisan.definitions", "django_partisan.functions.definition")
"""The modules that call ``run()`` and functions."""
# What a run raises when its query was cancelled, or its transaction broken by that.
_CANCELLED_QUERY: Final = (OperationalError, InternalError, TransactionManagementError)


class Interruption:
    """Interrupts one runner's runs, for at most ``seconds`` each; ``connections`` returns its connections."""

    def __init__(
        self, connections: Callable[[], Iterable[BaseDatabaseWrapper]] = tuple, seconds: float = 0.0
    ) -> None:
        self.run_number = 0
        """The number of runs that have begun."""
        self.interruptible = 0
        """The number of the run while its ``run()`` is executing, otherwise 0."""
        self.requested: Interrupt | None = None
        """The last request; the main thread reads it after each run."""
        self._raised: Interrupt | None = None
        self._connections = connections
        self._seconds = seconds
        self._runner = threading.get_ident()
        self._lock = threading.Lock()
        self._cancelling: list[threading.Thread] = []

    def listen(self) -> None:
        """Install the signal handlers; call it in the main thread."""
        for number in (SIGNAL, AGAIN):
            signal.signal(number, self.handle_signal)

    def request(self, message: Interrupt) -> None:
        """Interrupt a run that has begun or is about to begin, without waiting for it."""
        if message.run_number < self.run_number:
            return
        with self._lock:
            self.requested = message
        with suppress(RuntimeError):  # no thread can be started: the manager will kill the worker later
            threading.Thread(
                target=self._interrupt, args=(message,), name="partisan-interrupt", daemon=True
            ).start()

    def ensure_not_cancelled(self, is_to_commit: bool = False) -> None:
        """Raise ``TaskCancelled`` if the run that has just returned had swallowed it.

        Waits until no query of the run is being cancelled any more, for a limited time. After that, the
        connections can only be discarded, so a run that still has to commit has failed.
        """
        message = self._own()
        is_quiet = _have_ended(self._cancelling)
        if message is None:
            return
        is_cancelled = message.kind == CANCEL and self._raised is message
        if is_cancelled or (is_to_commit and not is_quiet):
            raise error_of(*message[1:])

    def deciding_error(self, error: BaseException) -> BaseException:
        """Return the error that decides the outcome of the run that has just raised ``error``.

        A cancelled run counts as cancelled whatever it raises. A cancelled query may have raised before the
        signal arrived.
        """
        message = self._own()
        if message is None:
            return error
        kind, comment = message[1:]
        expected = error_of(kind, comment)
        is_cancelled = kind == CANCEL and self._raised is message
        if type(error) is type(expected) or not (is_cancelled or isinstance(error, _CANCELLED_QUERY)):
            return error
        expected.__cause__ = error
        return expected

    def finish(self) -> bool:
        """Clear the request; return whether it was for the run that has just ended."""
        message = self._own()
        with self._lock:
            self.requested = None
            self._cancelling = []  # their connections are discarded
        signal.setitimer(signal.ITIMER_VIRTUAL, 0)
        return message is not None

    def handle_signal(self, number: int, frame: FrameType | None) -> None:
        """Raise the exception in the runner if ``run()`` is executing and nothing would swallow it."""
        message = self.requested
        if message is None or not self._is_due(message) or children.is_child:
            return
        places = list(_places(frame))
        if any(place.startswith(_SWALLOWING) for place in places):
            signal.setitimer(signal.ITIMER_VIRTUAL, AGAIN_SECONDS)
            return
        self._raised = message  # first, because the signal may arrive again
        if any(place.startswith(_DRIVER) for place in places):
            self._close_active()
        raise error_of(*message[1:])

    def _own(self) -> Interrupt | None:
        """Return the request for the run that has just ended, once none of its queries is being cancelled."""
        with self._lock:
            message = self.requested
        return message if message is not None and message.run_number == self.run_number else None

    def _is_due(self, message: Interrupt) -> bool:
        is_new = message is self.requested and message is not self._raised
        return is_new and message.run_number == self.interruptible

    def _interrupt(self, message: Interrupt) -> None:
        """Interrupt the run as soon as possible, in a separate thread."""
        deadline = time.monotonic() + self._seconds
        pause = PAUSE_SECONDS
        while self._may_become_due(message) and time.monotonic() < deadline:
            with self._lock:
                if self._is_due(message):
                    self._interrupt_now(message)
            time.sleep(pause)
            with self._lock:
                if self._is_due(message):  # it waits for the driver, or in code that ignores the signal
                    self._cancel_queries()
            pause = min(2 * pause, LONGEST_PAUSE_SECONDS)

    def _may_become_due(self, message: Interrupt) -> bool:
        is_over = self.run_number > message.run_number
        return not is_over and message is self.requested and message is not self._raised

    def _interrupt_now(self, message: Interrupt) -> None:
        coroutine = calling.coroutines.get(self._runner)
        if coroutine is None:
            signal.pthread_kill(self._runner, SIGNAL)
        elif coroutine.interrupt(error_of(*message[1:])):
            self._raised = message
            self._cancel_queries()  # those of the asynchronous ORM, which the runner executes

    def _close_active(self) -> None:
        """Close connections that the runner must leave in the middle of a query; called by the runner."""
        for connection in list(self._connections()):
            if is_active(connection):
                cancel_query(connection.connection)
                connection.connection.close()
                connection.close()  # inside an atomic block, Django reconnects after the block

    def _cancel_queries(self) -> None:
        """Ask the server to cancel the run's queries, and wait for a limited time."""
        raws = [one.connection for one in list(self._connections()) if is_active(one)]
        started = [threading.Thread(target=cancel_query, args=(raw,), daemon=True) for raw in raws]
        for thread in started:
            thread.start()
        _have_ended(started)
        self._cancelling = [thread for thread in (*self._cancelling, *started) if thread.is_alive()]


def _have_ended(threads: list[threading.Thread]) -> bool:
    """Wait for threads that cancel queries, for a limited time; return whether all have ended."""
    deadline = time.monotonic() + CANCEL_SECONDS
    for thread in threads:
        thread.join(max(0.0, deadline - time.monotonic()))
    return not any(thread.is_alive() for thread in threads)


def _places(frame: FrameType | None) -> Iterator[str]:
    """Yield the calls of a run, innermost first: each as its module's name and a dot, or ``__del__``."""
    while frame is not None and frame.f_globals.get("__name__") not in _RUN:
        yield _FINALIZER if frame.f_code.co_name == _FINALIZER else f"{frame.f_globals.get('__name__')}."
        frame = frame.f_back
