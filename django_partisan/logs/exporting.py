"""OpenTelemetry's handlers on the root logger, which only export lines.

An agent such as ``opentelemetry-instrument`` adds one to the existing logging. The library must not mistake
it for logging that the project has set up, and must still pass its own lines to it.
"""

import contextlib
import copy
import logging

from django_partisan.logs.ecs import EVENT_CONSTANTS, RECORD_FIELDS
from django_partisan.logs.logging_thread import ends_within
from django_partisan.telemetry.logger_provider import logger_provider


def is_exporting(handler: logging.Handler) -> bool:
    """Return whether ``handler`` comes from one of OpenTelemetry's packages."""
    return any(kind.__module__.partition(".")[0] == "opentelemetry" for kind in type(handler).__mro__)


def forwarding() -> list[logging.Handler]:
    """Return a forwarding handler for each exporting handler of the root: our lines do not propagate."""
    return [ForwardingHandler(handler) for handler in logging.root.handlers if is_exporting(handler)]


class ForwardingHandler(logging.Handler):
    """A handler that passes records to an exporting handler, with each field as an attribute."""

    def __init__(self, exporting: logging.Handler) -> None:
        super().__init__(exporting.level)
        self._exporting = exporting

    def emit(self, record: logging.LogRecord) -> None:
        """Pass on a copy of the record, because other handlers expect the fields in one attribute."""
        copied = copy.copy(record)
        vars(copied).update({**EVENT_CONSTANTS, **vars(copied).pop(RECORD_FIELDS, {})})
        self._exporting.handle(copied)


def flush(seconds: float) -> bool:
    """Export the pending lines; return False if this takes longer than ``seconds``.

    A handler's own ``flush()`` only starts the export, and a provider's may take longer than its timeout.
    """
    force_flush = getattr(logger_provider(), "force_flush", None)
    if force_flush is None:
        return True

    def run() -> None:
        with contextlib.suppress(Exception):  # the lines are lost; the process still ends
            force_flush(int(seconds * 2000))  # longer than we wait, so that we give up first

    return ends_within(seconds, run, "partisan-log-export")
