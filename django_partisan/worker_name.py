"""How a worker is named in the rows of its tasks."""

import socket


def worker_name(pid: int) -> str:
    """Return the host and the process id of a worker of this host."""
    return f"{socket.gethostname()}:{pid}"
