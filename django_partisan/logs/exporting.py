"""Handlers that OpenTelemetry has put on the root logger: they export lines, and write none for a reader.

An agent such as ``opentelemetry-instrument`` adds one to whatever logging there is. It must neither pass for
the host's own logging nor lose lines to a handler of ours.
"""

import contextlib
import copy
import logging
import threading
from typing import Any, Final

from django_partisan.logs.ecs import EVENT_CONSTANTS, RECORD_FIELDS
from django_partisan.telemetry.logger_provider import logger_provider

_PACKAGE: Final = "opentelemetry"


def is_exporting(handler: logging.Handler) -> bool:
    """Return whether ``handler`` is OpenTelemetry's, whichever of its packages brought it."""
    return any(kind.__module__.partition(".")[0] == _PACKAGE for kind in type(handler).__mro__)


def forwarding() -> list[logging.Handler]:
    """Return, for each such handler of the root, one that hands it lines that do not propagate there."""
    return [Forwarding(handler) for handler in logging.root.handlers if is_exporting(handler)]


class Forwarding(logging.Handler):
    """Hand records to an exporting handler, with their fields as attributes of their own."""

    def __init__(self, exporting: logging.Handler) -> None:
        super().__init__(exporting.level)
        self._exporting = exporting

    def emit(self, record: logging.LogRecord) -> None:
        """Hand on a copy, for other handlers find the fields as one attribute."""
        copied = copy.copy(record)
        fields: dict[str, Any] = vars(copied).pop(RECORD_FIELDS, {})
        vars(copied).update({**EVENT_CONSTANTS, **fields})
        self._exporting.handle(copied)


def flush(seconds: float) -> bool:
    """Export the lines that wait; return False if ``seconds`` were not enough.

    A handler's own ``flush()`` only starts that, and a provider's may take longer than it is told to.
    """
    force_flush = getattr(logger_provider(), "force_flush", None)
    if force_flush is None:
        return True
    done = threading.Event()

    def run() -> None:
        with contextlib.suppress(Exception):  # the lines are lost; the process goes on to its end
            force_flush(int(seconds * 2000))  # longer than we wait, so that it is we who give up
        done.set()

    threading.Thread(target=run, name="partisan-log-export", daemon=True).start()
    return done.wait(seconds)
