"""The name of a worker in the rows of its tasks."""

import socket


def worker_name(pid: int) -> str:
    """Return the name of a worker on this host, ``host:pid``."""
    return f"{socket.gethostname()}:{pid}"
