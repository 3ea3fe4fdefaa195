"""Read the database's clock, which decides when something is due."""

from datetime import datetime, timezone
from typing import Final

from django.db.backends.base.base import BaseDatabaseWrapper

from django_partisan.sql.connection import fetch_all

_NOW: Final = "SELECT extract(epoch FROM statement_timestamp())::float8"


def server_now(connection: BaseDatabaseWrapper) -> datetime:
    """Return the server's time, in UTC."""
    [[seconds]] = fetch_all(connection, _NOW)
    return datetime.fromtimestamp(seconds, timezone.utc)
