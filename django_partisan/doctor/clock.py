"""Do this host's clock and the database's agree?"""

import time
from collections.abc import Iterator
from typing import Final

from django.db import connections

from django_partisan.doctor.finding import ERROR, FINE, WARNING, Finding
from django_partisan.doctor.subject import Subject
from django_partisan.sql.connection import fetch_all, task_database

WARNING_SECONDS: Final = 1.0
ERROR_SECONDS: Final = 5.0
"""The limit of the alert PartisanClockSkew."""

_NOW: Final = "SELECT extract(epoch FROM clock_timestamp())::float8"


def look(subject: Subject) -> Iterator[Finding]:
    """Compare the database's time with ours, halfway through the query."""
    connection = connections[task_database()]
    fetch_all(connection, _NOW)  # so that connecting is no part of the measurement
    before = time.time()
    theirs = fetch_all(connection, _NOW)[0][0]
    after = time.time()
    yield judge(theirs - (before + after) / 2, (after - before) / 2)


def judge(skew: float, uncertainty: float) -> Finding:
    """Return what a skew in seconds means, measured within ``uncertainty`` seconds."""
    size = abs(skew)
    way = "ahead of" if skew > 0 else "behind"
    message = f"The database's clock is {size:.3f} s {way} this host's (within {uncertainty:.3f} s)."
    if size - uncertainty <= WARNING_SECONDS:
        return Finding(FINE, message)
    status = ERROR if size - uncertainty > ERROR_SECONDS else WARNING
    return Finding(status, message, "Synchronize both hosts with NTP (chrony or systemd-timesyncd).")
