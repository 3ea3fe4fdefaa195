"""Preload Django, its apps and the task code for all workers, in the fork server's main thread.

No connection, pool or lock of ours may be inherited: a child would share the parent's socket. The workers
report problems, since the fork server has no log.
"""

import gc
import threading
import traceback
from collections.abc import Iterator
from contextlib import contextmanager
from importlib import import_module
from typing import Final

from django_partisan.engine.project_setup import set_up_process
from django_partisan.engine.worker.exit_handlers import Handler, noted

warnings: list[str] = []
exit_handlers: list[Handler] = []
"""The handlers that the project has registered with ``atexit``; workers run them when they end."""

_MODULES_OF_WORKERS: Final = (
    "django_partisan.engine.worker.main",
    "django_partisan.engine.worker.worker",
    "django_partisan.telemetry.setup.worker",
)
"""Once these are loaded, workers import no more of our modules, which may be of another version by then."""
_STARTED_AGAIN: Final = ("OtelBatch", "OtelPeriodicExportingMetricReader")
"""Names of threads that OpenTelemetry's SDK restarts in a forked process."""
_NEVER: Final = 2**31 - 1  # a garbage collection threshold that no project would set


@contextmanager
def _without_collections() -> Iterator[None]:
    """Suspend garbage collection: it would slow down loading by nearly a tenth, and free hardly anything.

    Thresholds that the project sets inside the block are kept.
    """
    before = gc.get_threshold()
    gc.set_threshold(_NEVER, *before[1:])
    try:
        yield
    finally:
        if gc.get_threshold()[0] == _NEVER:
            gc.set_threshold(*before)


def _load() -> None:  # pragma: no cover: fork server process
    set_up_process()
    import django
    from django.db import connections

    django.setup()
    from django_partisan.telemetry import bus

    bus.preload()
    for module in _MODULES_OF_WORKERS:
        import_module(module)
    for connection in connections.all(initialized_only=True):
        connection.close()
        if hasattr(connection, "close_pool"):
            connection.close_pool()
    names = [
        thread.name
        for thread in threading.enumerate()
        if thread is not threading.main_thread() and not thread.name.startswith(_STARTED_AGAIN)
    ]
    if names:
        warnings.append(
            "importing the project started threads, which do not exist in the workers: "
            + ", ".join(names)
            + ". Start them in run(), or set PRELOAD to False."
        )
    # No collection first: it takes time, and loading creates hardly any garbage.
    gc.freeze()  # a collection in a child would write to every shared page


try:
    with noted() as exit_handlers, _without_collections():
        _load()
except Exception:  # each worker then loads the project itself, and fails with the cause if the error persists
    warnings.append("preloading failed: " + traceback.format_exc().strip().splitlines()[-1])
