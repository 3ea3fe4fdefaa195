"""Limit how long the statements of a transaction wait for the locks of others."""

from typing import Final

from django.db.backends.base.base import BaseDatabaseWrapper

from django_partisan.sql.connection import fetch_all

_LIMIT_WAIT: Final = "SELECT current_setting('lock_timeout'), set_config('lock_timeout', %s, true)"


def limit_lock_wait(connection: BaseDatabaseWrapper, limit: str) -> str:
    """Set ``lock_timeout`` until the transaction ends; return its previous value."""
    return str(fetch_all(connection, _LIMIT_WAIT, (limit,))[0][0])
