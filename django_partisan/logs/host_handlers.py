"""Flush the handlers of all loggers when a worker ends, within a time limit.

``logging.shutdown()`` does this too, as an exit handler. But exit handlers run in reverse order, and
``logging`` registers its own early: if one that was registered later hangs, it never runs.
"""

import contextlib
import logging

from django_partisan.logs.logging_thread import ends_within


def flush(timeout: float) -> bool:
    """Flush every handler; return False if this takes longer than ``timeout`` seconds."""
    return ends_within(timeout, _flush_all, "partisan-log-flush")


def _flush_all() -> None:
    loggers = [logging.root, *logging.root.manager.loggerDict.values()]
    found = [handler for one in loggers if isinstance(one, logging.Logger) for handler in one.handlers]
    for handler in dict.fromkeys(found):
        with contextlib.suppress(Exception):  # as logging.shutdown() does: flush the others
            handler.flush()
