"""Preloaded in the fork server first: what its children must not inherit is put right here."""

import os
import signal
import sys
from typing import Final

PATH_BEFORE: Final = "DJANGO_PARTISAN_PYTHONPATH"
"""Names the variable that keeps the user's own PYTHONPATH while the fork server starts."""
SIGNALS: Final = (signal.SIGTERM, signal.SIGINT)
"""What a terminal or a supervisor sends to the whole group; blocked while the fork server starts."""


def shield() -> None:
    """Outlive the signals that a terminal sends to the group, and give PYTHONPATH back.

    The workers start with these signal settings, so none dies in the moment before it has set its
    own. Programs that a task starts must see the user's PYTHONPATH, not ours.
    """
    for number in SIGNALS:
        signal.signal(number, signal.SIG_IGN)
    signal.pthread_sigmask(signal.SIG_UNBLOCK, SIGNALS)
    before = os.environ.pop(PATH_BEFORE)
    os.environ.pop("PYTHONPATH", None)
    if before:
        os.environ["PYTHONPATH"] = before


if PATH_BEFORE in os.environ and "multiprocessing.forkserver" in sys.modules:  # pragma: no cover: fork server
    shield()
