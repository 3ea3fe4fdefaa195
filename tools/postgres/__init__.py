"""A temporary PostgreSQL server for one run, which leaves nothing behind.

    with postgres.server() as server:
        connect(server.url)

`environment()` does the same unless the user chose a server with DATABASE_URL or the variables of libpq.
The command line is `python -m tools.postgres run -- COMMAND` and `python -m tools.postgres serve`.
"""

import os
from collections.abc import Iterator, Mapping
from contextlib import contextmanager

from tools import database_url

from .programs import ProgramsNotFound
from .server import Server, ServerError, server

__all__ = ["ProgramsNotFound", "Server", "ServerError", "environment", "server"]


@contextmanager
def environment(
    *, durable: bool = False, settings: Mapping[str, str] | None = None, major: int | None = None
) -> Iterator[dict[str, str]]:
    """Yield the variables for a temporary server, or none if the environment already names a server."""
    if database_url.names_a_server(os.environ):
        yield {}
    else:
        with server(durable=durable, settings=settings, major=major) as own:
            yield own.env()
