"""Wait until another manager frees the metrics port, as in a rolling restart."""

import threading
from collections.abc import Callable
from typing import Final

from django_partisan.metrics.access import CannotServe, PortInUse

RETRY_SECONDS: Final = 1.0
CLOSE_SECONDS: Final = 2.0


class PortWait:
    """A thread that calls ``bind`` until the port is free, or until ``stop()``.

    ``failed`` is called with an error that waiting cannot fix; then the thread ends.
    """

    def __init__(
        self,
        bind: Callable[[], None],
        failed: Callable[[CannotServe], None],
        retry_seconds: float = RETRY_SECONDS,
    ) -> None:
        self._bind = bind
        self._failed = failed
        self._retry_seconds = retry_seconds
        self._stopped = threading.Event()
        self._thread = threading.Thread(target=self._run, name="partisan-metrics-port", daemon=True)
        self._thread.start()

    def stop(self) -> None:
        """End the thread, which may already have bound the port."""
        self._stopped.set()
        self._thread.join(CLOSE_SECONDS)

    def _run(self) -> None:
        while not self._stopped.wait(self._retry_seconds):
            try:
                self._bind()
            except PortInUse:
                continue  # no matter by which program
            except CannotServe as error:
                self._failed(error)
            return
