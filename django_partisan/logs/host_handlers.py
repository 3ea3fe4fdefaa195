"""Flush the handlers of all loggers when a worker ends, within a time limit.

``logging.shutdown()`` does this too, as an exit handler. But exit handlers run in reverse order, and
``logging`` registers its own early: if one that was registered later hangs, it never runs.
"""

import contextlib
import logging
import threading


def flush(timeout: float) -> bool:
    """Flush every handler; return False if this takes longer than ``timeout`` seconds."""
    done = threading.Event()

    def run() -> None:
        for handler in _all():
            with contextlib.suppress(Exception):  # as logging.shutdown() does: flush the others
                handler.flush()
        done.set()

    threading.Thread(target=run, name="partisan-log-flush", daemon=True).start()
    return done.wait(timeout)


def _all() -> list[logging.Handler]:
    loggers = [logging.root, *logging.root.manager.loggerDict.values()]
    found = [handler for one in loggers if isinstance(one, logging.Logger) for handler in one.handlers]
    return list(dict.fromkeys(found))
