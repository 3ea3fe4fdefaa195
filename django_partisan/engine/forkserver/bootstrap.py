"""Set the signals of a fork server before it loads anything, in its main thread."""

import signal
from typing import Final

SIGNALS: Final = (signal.SIGTERM, signal.SIGINT, signal.SIGHUP, signal.SIGQUIT)
"""Signals that a terminal or a supervisor sends to the whole group; blocked while the fork server starts."""
HANGUP_IS_IGNORED: Final = signal.getsignal(signal.SIGHUP) is signal.SIG_IGN
"""Whether this process was started with HUP ignored, as nohup does; workers read it in their fork server."""


def ignore_signals() -> None:
    """Ignore the signals that a terminal sends to the group.

    Workers start with these signal settings, so none dies before it has set its own.
    """
    for number in SIGNALS:
        signal.signal(number, signal.SIG_IGN)
    signal.pthread_sigmask(signal.SIG_UNBLOCK, SIGNALS)
