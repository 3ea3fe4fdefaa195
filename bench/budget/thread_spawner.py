"""Run a manager and its workers as threads of one process, with the code of their real processes."""

import os
import socket
import threading
from collections.abc import Callable

from django.core.management import load_command_class

from bench.budget.stand_ins import MANAGER, PID, WORKER
from django_partisan.config.queues import DEFAULT_QUEUE, queue_config
from django_partisan.engine import pipe
from django_partisan.engine.forkserver.spawner import Spawner
from django_partisan.engine.manager import startup
from django_partisan.engine.manager.database_call import Deliver
from django_partisan.engine.manager.manager import Manager
from django_partisan.engine.manager.worker_process import ProcessHandle, WorkerProcess
from django_partisan.engine.pipe import ManagerEnd
from django_partisan.engine.protocol import Message
from django_partisan.engine.worker.worker import Worker
from django_partisan.engine.worker_spec import WorkerSpec
from django_partisan.telemetry.setup.manager import set_up_manager

LEASE_SECONDS = 3600
"""Long enough that no heartbeat occurs in a scenario, and that PostgreSQL can answer on a busy machine."""
PIPE_BYTES = 1 << 22


class ThreadSpawner(Spawner):
    """A spawner that starts workers in threads of this process."""

    def __init__(self, presence_fd: int, preload: bool, deliver: Deliver) -> None:
        self._presence_fd = presence_fd
        self._deliver = deliver

    def start(self, spec: WorkerSpec, done: Callable[[WorkerProcess | Exception], None]) -> None:
        """Start a worker; `done` is called with it in the loop."""
        ours, theirs = socket.socketpair()
        for end in (ours, theirs):  # a worker that waits until its report is read would block the turn
            end.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, PIPE_BYTES)
        bell, ring = os.pipe()
        sentinel, _ = os.pipe()  # never readable: the worker never ends
        handle = ProcessHandle(PID, sentinel, ManagerEnd(ours.detach()), ring)
        worker = WorkerProcess(spec.slot, spec.generation, handle, spec.config.tasks_per_worker_instance)

        def run() -> None:
            Worker(theirs.detach(), bell, self._presence_fd, spec, []).run()

        threading.Thread(target=run, name=f"{WORKER}-{spec.slot}", daemon=True).start()
        self._deliver(lambda: done(worker))

    def collect(self, worker: WorkerProcess, done: Callable[[int | None], None]) -> None:
        """Do nothing, because no worker ends."""

    def close(self, timeout: float) -> None:
        """Do nothing, because the process ends with all its threads."""


def start_manager() -> None:
    """Start the manager's thread; it serves until this process ends."""
    threading.Thread(target=_serve, name=MANAGER, daemon=True).start()


def _serve() -> None:
    """Run the manager as `start_partisan` does."""
    command = load_command_class("django_partisan", "start_partisan")
    options = vars(command.create_parser("manage.py", "start_partisan").parse_args([]))
    config = queue_config(DEFAULT_QUEUE, lease_seconds=LEASE_SECONDS)
    with set_up_manager(config, options) as telemetry:
        served = startup.ensure_database()
        Manager(telemetry.worker_spec._replace(schema=served.schema), None, ThreadSpawner).run()


def watch_messages(note: Callable[[], None]) -> None:
    """Call `note` for each message that the manager or a worker sends, in the sender's thread."""
    frame = pipe.frame

    def noted(message: Message) -> bytes:
        note()
        return frame(message)

    pipe.frame = noted
