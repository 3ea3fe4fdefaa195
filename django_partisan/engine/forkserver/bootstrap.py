"""Restore what the fork server's children must not inherit; preloaded first, in its main thread."""

import os
import signal
import sys
from typing import Final

# The variable that keeps the user's PYTHONPATH while the fork server starts.
PATH_BEFORE: Final = "DJANGO_PARTISAN_PYTHONPATH"
# Signals that a terminal or a supervisor sends to the whole group; blocked while the fork server starts.
SIGNALS: Final = (signal.SIGTERM, signal.SIGINT, signal.SIGHUP, signal.SIGQUIT)
# Whether this process was started with HUP ignored, as nohup does. The fork server reads it for its workers.
HANGUP_IS_IGNORED: Final = signal.getsignal(signal.SIGHUP) is signal.SIG_IGN


def prepare_fork_server() -> None:
    """Ignore the signals that a terminal sends to the group, and restore the user's PYTHONPATH.

    Workers start with these signal settings, so none dies before it has set its own. Programs that a task
    starts must see the user's PYTHONPATH, not ours.
    """
    for number in SIGNALS:
        signal.signal(number, signal.SIG_IGN)
    signal.pthread_sigmask(signal.SIG_UNBLOCK, SIGNALS)
    before = os.environ.pop(PATH_BEFORE)
    os.environ.pop("PYTHONPATH", None)
    if before:
        os.environ["PYTHONPATH"] = before


if PATH_BEFORE in os.environ and "multiprocessing.forkserver" in sys.modules:  # pragma: no cover: fork server
    prepare_fork_server()
