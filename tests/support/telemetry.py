"""Save and restore the telemetry of this process around a test; a sample snapshot of a manager."""

import logging
import time
from collections.abc import Iterator
from contextlib import contextmanager

from django_partisan.config import observability
from django_partisan.logs import configuration
from django_partisan.logs.log_event import APP
from django_partisan.logs.subscriber import output
from django_partisan.telemetry import bus, swallowed
from django_partisan.telemetry.events.snapshot import QueueLimits, Snapshot


@contextmanager
def telemetry_kept() -> Iterator[None]:
    """Restore loggers, subscribers, settings and tracing at the end of a ``with`` block."""
    loggers = list(configuration._our_loggers())
    before = [(logger, list(logger.handlers), logger.propagate, logger.level) for logger in loggers]
    subscribed, last_resort = bus.subscribers(), logging.lastResort
    yield
    configuration._subscriber.close(10.0)
    logging.lastResort = last_resort
    swallowed.report = swallowed.print_error
    for logger, handlers, propagate, level in before:
        for handler in logger.handlers:
            if handler not in handlers:
                handler.close()
        logger.handlers[:], logger.propagate = handlers, propagate
        logger.setLevel(level)
    output.is_ours = False
    configuration._subscriber.set_role(APP)
    observability.use_resolved(None)
    bus.exchange(bus.subscribers(), subscribed)  # a manager's set-up removes tracing if no SDK is configured


def started_snapshot(queue: str = "default") -> Snapshot:
    """Return the snapshot of a manager that has just started."""
    limits = QueueLimits(None, 3, None, 10.0)
    return Snapshot(queue, 0, (), 0, 10, 0, False, True, time.time(), None, None, limits)
