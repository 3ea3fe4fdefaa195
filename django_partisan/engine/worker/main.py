"""The entry point of a worker process: set up Django, subscribe telemetry and run the worker.

This module must not import anything from Django at module level: without a preloaded fork server, it is
among the first modules that a fresh interpreter imports.
"""

import importlib
import io
import multiprocessing
import os
import signal
import sys
import traceback
from functools import partial

import django_partisan
from django_partisan.engine import thread_stacks
from django_partisan.engine.forkserver import bootstrap
from django_partisan.engine.project_setup import set_up_process
from django_partisan.engine.worker import children, exit_handlers


def worker_main(
    name: str, pickled_spec: bytes, pipe: int, bell: int, presence: int, alive: int
) -> None:  # pragma: no cover: child process
    """Run a worker until its manager stops or recycles it, or dies.

    The arguments after the spec are descriptors: the ends of the pipe and the bell, the manager's presence
    file, and a pipe that stays open until this process ends. The spec is pickled, since its class can be
    imported only after Django is set up.
    """
    _ignore_signals()
    _write_lines_at_once()
    multiprocessing.current_process().name = name  # log records show it
    preload = sys.modules.get("django_partisan.engine.forkserver.preload")
    exit_handlers.take_over(getattr(preload, "exit_handlers", []))  # before the worker registers finalizers
    warnings = _set_up_django()
    from django.db import connections
    from django.utils.module_loading import import_string

    from django_partisan.config import immediate
    from django_partisan.engine import protocol
    from django_partisan.engine.pipe import WorkerEnd
    from django_partisan.engine.protocol import Ready
    from django_partisan.engine.worker.shutdown import WorkerShutdown
    from django_partisan.engine.worker.worker import Worker
    from django_partisan.engine.worker_spec import unpacked
    from django_partisan.sql.connection import task_database

    immediate.disable_in_worker()
    spec = unpacked(pickled_spec)
    if spec is None:  # our versions show the manager that its code was replaced
        WorkerEnd(pipe).send(Ready(protocol.VERSION, warnings, django_partisan.__version__))
        os._exit(0)
    connections[task_database()].settings_dict["NAME"] = spec.database
    if spec.subscribe is not None:
        path, arguments = spec.subscribe
        import_string(path)(spec, **arguments)
    ending = WorkerShutdown(
        spec.config.queue, spec.slot, spec.generation, spec.flush_seconds, exit_handlers.run
    )
    worker = Worker(pipe, bell, presence, spec, warnings, ending)
    worker.allow_interruptions()
    children.watch(*(partial(os.close, end) for end in (pipe, bell, alive)), worker.detach)
    code = 0
    try:
        worker.run()
    except BaseException as error:
        children.end_if_child(error)  # forked by a signal receiver, not by a task
        traceback.print_exc()
        code = 1
    ending.finish()
    os._exit(code)


def _write_lines_at_once() -> None:  # pragma: no cover: child process
    """Make ``print()`` write each line immediately, not when the worker ends."""
    if isinstance(sys.stdout, io.TextIOWrapper):
        sys.stdout.reconfigure(line_buffering=True)


def _ignore_signals() -> None:  # pragma: no cover: child process
    """Leave signals that a terminal sends to the whole group to the manager; QUIT logs the stacks here too.

    This needs a handler: a signal that is ignored (SIG_IGN) is also ignored in the programs that a task
    starts. For HUP under ``nohup`` that is intended.
    """
    for number in bootstrap.SIGNALS:
        if number != signal.SIGHUP or not bootstrap.HANGUP_IS_IGNORED:
            signal.signal(number, children.leave_to_manager)
    signal.signal(signal.SIGQUIT, thread_stacks.report)


def _set_up_django() -> list[str]:  # pragma: no cover: child process
    """Set up Django unless the fork server has done so; return warnings for the manager's log."""
    import django
    from django.apps import apps

    preload = sys.modules.get("django_partisan.engine.forkserver.preload")
    warnings: list[str] = list(getattr(preload, "warnings", ()))
    if not apps.ready:
        if preload is not None:
            warnings.append("nothing was preloaded: this worker loaded Django itself")
        # The fork server's package may be older than the code that is loaded now.
        importlib.reload(django_partisan)
        set_up_process()
        django.setup()
    return warnings
