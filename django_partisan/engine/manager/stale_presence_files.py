"""Remove presence files of dead managers whose tasks a manager on another host has rescued."""

from django.db.backends.base.base import BaseDatabaseWrapper

from django_partisan.engine.liveness import dead_with, if_dead
from django_partisan.sql import leasing
from django_partisan.sql.connection import identity_of


def remove_left_files(connection: BaseDatabaseWrapper) -> None:
    """Remove the files of dead managers of this host and database that no longer have a row."""
    names = dead_with(identity_of(connection))
    for name in set(names) - leasing.registered_files(connection, names):
        with if_dead(name):
            pass  # on exit the file is removed, unless another manager is removing it
