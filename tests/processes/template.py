"""A process that has imported the libraries of a manager, and forks managers, which so start sooner.

Only libraries are imported here, never our own modules or settings: each manager loads those itself. For
each request, a keeper process is forked, which forks the manager, and reports its process id and exit code.
The client is ``forking.py``.
"""

import gc
import json
import os
import runpy
import signal
import socket
import sys
from importlib import import_module
from importlib.util import find_spec
from struct import Struct
from typing import Any

LIBRARIES = (
    "cronsim",
    "ctypes",
    "django.core.management.commands.runserver",
    "django.db.backends.postgresql.base",
    "django.db.migrations.executor",
    "django.urls",
    "opentelemetry.baggage",
    "opentelemetry.metrics",
    "opentelemetry.propagate",
    "opentelemetry.trace",
    "prometheus_client",
    "structlog",
)
TASK_FRAMEWORKS = ("django.tasks", "django_tasks")
"""Django's, which version 5.2 lacks, and its backport."""
REQUEST_MAX_BYTES = 1 << 17
NUMBER = Struct("i")
"""The format of a process id and of an exit code."""


def serve(requests: socket.socket) -> dict[str, Any] | None:
    """Fork a keeper for each request; return the request in a manager, ``None`` when the client is gone."""
    signal.signal(signal.SIGCHLD, signal.SIG_IGN)  # nobody waits for a keeper
    while True:
        request, descriptors, _, _ = socket.recv_fds(requests, REQUEST_MAX_BYTES, 3)
        if not request:
            return None
        if os.fork() == 0:
            requests.close()
            signal.signal(signal.SIGCHLD, signal.SIG_DFL)
            keep(*descriptors)
            return dict(json.loads(request))
        for descriptor in descriptors:
            os.close(descriptor)


def keep(answers: int, out: int, err: int) -> None:
    """Fork the manager, in which this returns; report its process id and its exit code, and exit."""
    if pid := os.fork():
        os.write(answers, NUMBER.pack(pid))
        _, status = os.waitpid(pid, 0)
        os.write(answers, NUMBER.pack(os.waitstatus_to_exitcode(status)))
        os._exit(0)
    os.setsid()
    os.dup2(out, 1)
    os.dup2(err, 2)
    for descriptor in (answers, out, err):
        os.close(descriptor)


def become(request: dict[str, Any]) -> None:
    """Run the module of a request like ``python -m``, with its arguments and environment."""
    os.environ.clear()
    os.environ.update(request["environment"])
    module, *sys.argv[1:] = request["arguments"]
    runpy.run_module(module, run_name="__main__", alter_sys=True)


def main() -> None:
    """Answer the requests that arrive at the socket whose descriptor is the argument."""
    # The settings of managers also hide it from structlog's development tools.
    sys.modules.setdefault("rich", None)  # type: ignore[arg-type]
    for library in (*LIBRARIES, *filter(find_spec, TASK_FRAMEWORKS)):
        import_module(library)
    gc.freeze()
    with socket.socket(fileno=int(sys.argv[1])) as requests:
        request = serve(requests)
    if request is not None:
        become(request)


if __name__ == "__main__":
    main()
