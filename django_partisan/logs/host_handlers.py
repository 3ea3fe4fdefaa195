"""The handlers of the host's loggers when a worker ends: what they hold back is written, within a bound.

``logging.shutdown()`` does so too, as an exit handler; but an exit handler that hangs keeps those that were
registered before it from running, and ``logging`` is among the first.
"""

import contextlib
import logging
import threading


def flush(timeout: float) -> bool:
    """Flush every handler; return False if ``timeout`` seconds were not enough."""
    done = threading.Event()

    def run() -> None:
        for handler in _all():
            with contextlib.suppress(Exception):  # as logging.shutdown(): another one may still be flushed
                handler.flush()
        done.set()

    threading.Thread(target=run, name="partisan-log-flush", daemon=True).start()
    return done.wait(timeout)


def _all() -> list[logging.Handler]:
    loggers = [logging.root, *logging.root.manager.loggerDict.values()]
    found = [handler for one in loggers if isinstance(one, logging.Logger) for handler in one.handlers]
    return list(dict.fromkeys(found))
