"""Remove presence files of dead managers whose tasks a manager on another host has rescued."""

from django.db.backends.base.base import BaseDatabaseWrapper

from django_partisan.engine.liveness import begun_if_dead, dead_managers_of
from django_partisan.sql import leasing
from django_partisan.sql.connection import identity_of


def remove_left_files(connection: BaseDatabaseWrapper) -> None:
    """Remove the files of dead managers of this host and database that no longer have a row."""
    names = dead_managers_of(identity_of(connection))
    for name in set(names) - leasing.registered_files(connection, names):
        with begun_if_dead(name):
            pass  # on exit the file is removed, unless another manager is removing it
