"""The worker process: receive tasks, run them and report the results.

| thread | does what |
|---|---|
| main | all of ``run()``; it alone writes the page |
| ``partisan-control`` | returns recalled tasks (``prefetch``), and acts when the manager has died or |
| | asks to interrupt the run (``interruption``) |

The thread that writes to the pipe holds ``_sending``, which is acquired inside the report's lock.
"""

import resource
import sys
import threading
from contextlib import suppress
from time import monotonic
from typing import Final

from django_partisan import __version__, registry
from django_partisan.config.queue_keys import LEAST_GRACE_SECONDS
from django_partisan.engine import protocol, thread_stacks
from django_partisan.engine.boot_clock import now
from django_partisan.engine.late_definitions import LateDefinitions
from django_partisan.engine.pipe import PipeError, WorkerEnd
from django_partisan.engine.presence import WorkerPage
from django_partisan.engine.protocol import Flushed, Ready, Registered, Retiring, Returned, ToManager
from django_partisan.engine.worker import children
from django_partisan.engine.worker.connections import TaskConnections
from django_partisan.engine.worker.executor import Executor
from django_partisan.engine.worker.interruption import Interruption
from django_partisan.engine.worker.prefetch import PrefetchedTasks
from django_partisan.engine.worker.report import PendingReport
from django_partisan.engine.worker.shutdown import WorkerShutdown
from django_partisan.engine.worker.thread_connections import ThreadConnections
from django_partisan.engine.worker.without_manager import WithoutManager
from django_partisan.engine.worker_spec import WorkerSpec
from django_partisan.sql.claiming import ID, PROCESSOR, TaskRow
from django_partisan.telemetry import bus
from django_partisan.telemetry.events.runs import TransactionLeftOpen, WrittenOutsideAtomic
from django_partisan.telemetry.reporting import reporting, stop

IDLE_SECONDS: Final = 1.0
REFRESH_SECONDS: Final = 0.1
"""An idle worker asks the subscribers what they want at most this often, in seconds."""
LEASE_CHECK_SECONDS: Final = 0.05
"""How often a worker that holds tasks checks whether the expired lease was extended, in seconds."""
MAXRSS_UNIT_BYTES: Final = 1 if sys.platform == "darwin" else 1024


class Worker:
    """One worker process, from start to end."""

    def __init__(
        self,
        pipe: int,
        bell: int,
        presence: int,
        spec: WorkerSpec,
        warnings: list[str],
        ending: WorkerShutdown | None = None,
    ) -> None:
        self._ending = ending or WorkerShutdown(
            spec.config.queue, spec.slot, spec.generation, spec.flush_seconds
        )
        self._warnings = warnings
        self._pipe = WorkerEnd(pipe)
        self._sending = threading.Lock()
        self._page = WorkerPage(presence, spec.slot)
        self._connections = TaskConnections(spec.config.reset_session)
        self._interruption = Interruption(
            lambda: self._connections.opened, spec.config.interrupt_grace_seconds
        )
        self._tasks = PrefetchedTasks(
            self._pipe,
            bell,
            self._return_tasks,
            self._on_manager_lost,
            self._interruption.request,
            thread_stacks.report_all,
        )
        self._threads = ThreadConnections()
        self._executor = Executor(
            spec.config,
            spec.slot,
            spec.generation,
            self._tasks.claim_times,
            spec.schema,
            self._interruption,
            self._send_registered,
        )
        self._late_definitions = LateDefinitions(
            registry.definitions if spec.registered is None else spec.registered
        )
        keeps_completed = not spec.config.delete_tasks_on_complete
        self._report = PendingReport(spec.config.queue, self._executor.wait_of, keeps_completed)
        self._running: TaskRow | None = None  # for the control thread
        self._without_manager = WithoutManager(
            spec.config,
            self._report,
            self._tasks,
            running=lambda: self._running,
            started=lambda: self._executor.started,
        )
        self._limit = spec.config.tasks_per_worker_instance
        # As last read from the presence file; the manager only ever extends it.
        self._lease_until = 0.0
        self._refresh_at = 0.0

    def allow_interruptions(self) -> None:  # pragma: no cover: child process
        """Allow runs to be interrupted; call it in the main thread, which runs the tasks."""
        self._interruption.listen()

    def run(self) -> None:
        """Run tasks until the worker is stopped or recycled, or the manager has died."""
        self._tasks.start()
        try:
            self._send(Ready(protocol.VERSION, self._warnings, __version__))
            with reporting(self._report_now):
                while self._turn():
                    pass
            self._page.leave_slot()
            self._send(Retiring())
            self._ending.begin()
            peak_bytes = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * MAXRSS_UNIT_BYTES
            self._send(Flushed(bus.take(), peak_bytes))
            self._sending.acquire()  # never released: the process must not end while the other thread sends
        except PipeError:
            children.end_if_child()  # forked by a signal receiver: its pipe is closed
            self._without_manager.finish()
            self._ending.begin()
        finally:
            self._without_manager.end()
            self._close_connections()

    def detach(self) -> None:  # pragma: no cover: child process
        """Close the presence files and stop reporting in a process that a task has forked."""
        stop(self._report_now)
        self._page.close()
        self._without_manager.close_presence()

    def _turn(self) -> bool:
        """Run one task, or wait for tasks; return False when this worker should end.

        Once the manager's lease has expired, its tasks may belong to another manager: none starts until the
        lease is extended.
        """
        may_start = now() < self._lease_until or self._has_lease()
        if may_start and (row := self._tasks.next()) is not None:
            if self._run_one(row):
                self._report.send(self._send)
            return True
        self._running = None
        idle_since = monotonic()
        self._page.idle(idle_since)
        self._report.send(self._send)
        if self._tasks.stopping or (self._limit is not None and self._page.begun >= self._limit):
            return False
        if idle_since >= self._refresh_at:  # while there are no tasks, so that it delays none
            self._refresh_at = idle_since + REFRESH_SECONDS
            bus.refresh()
        if self._tasks.wait(IDLE_SECONDS if may_start else LEASE_CHECK_SECONDS, may_start):
            self._connections.before_chunk()
        self._threads.close_ended()
        return True

    def _has_lease(self) -> bool:
        """Return whether tasks may start: the lease is valid; the manager is alive and will not kill us."""
        self._lease_until = self._page.lease_until()
        self._tasks.return_older(self._page.epoch())  # read last, as it is written first
        if self._page.is_condemned() or self._tasks.has_lost_manager():
            self._lease_until = 0.0
        return now() < self._lease_until

    def _run_one(self, row: TaskRow) -> bool:
        """Run a task; return whether a report is due."""
        executor = self._executor
        self._running = row
        last_started, executor.started = executor.started, monotonic()
        started = executor.started
        self._interruption.run_number = self._page.begin(row[ID], started)
        # Only a run that took this long may be condemned; the manager kills only if the page still shows it.
        # A process that was stopped for this long may have lost its manager, and others may have rescued its
        # tasks.
        is_late = started - last_started > LEAST_GRACE_SECONDS
        if is_late and (self._page.is_condemned() or self._tasks.has_lost_manager()):
            self._tasks.put_back(row)
            self._running = None
            self._page.idle(monotonic())
            self._lease_until = 0.0
            return True
        result = executor.execute(row)
        seconds = executor.ended - started
        self._page.busy_seconds += seconds
        is_report_due = self._report.add(row, result, seconds, executor.ended)
        if self._interruption.requested is not None and self._interruption.finish():
            self._connections.discard()
        if self._connections.opened:
            for database in self._connections.after_run():
                bus.emit(TransactionLeftOpen, executor.run_of(row), database)
        if self._threads.noted:
            self._look_after_threads(row)
        return is_report_due

    def _look_after_threads(self, row: TaskRow) -> None:
        run = self._executor.run_of(row)
        for database, thread in self._threads.after_run():
            bus.emit(TransactionLeftOpen, run, database, thread)
        writers = self._threads.take_writers()
        definition = registry.find(row[PROCESSOR])
        if definition is not None and definition.atomic:
            for thread in sorted(writers):
                bus.emit(WrittenOutsideAtomic, run, thread)

    def _close_connections(self) -> None:
        self._threads.close()
        self._connections.close()

    def _send_registered(self) -> None:
        """Send the manager the options of definitions that only this worker has; it may enforce them."""
        late = self._late_definitions.take()
        if late:
            with suppress(PipeError):  # the report of the run gets the error too
                self._send(Registered(late))

    def _return_tasks(self, ids: list[int]) -> None:
        """Report, then return tasks that have not started; usually called in the control thread."""
        self._report.send(self._send)
        self._send(Returned(ids))

    def _report_now(self) -> None:
        """Report from a subscriber's thread; if the manager has died, other threads handle it."""
        with suppress(PipeError):
            self._report.send(self._send)

    def _on_manager_lost(self) -> None:  # pragma: no cover: runs in worker processes
        self._without_manager.keep_run()

    def _send(self, message: ToManager) -> None:
        with self._sending:
            self._pipe.send(message)
