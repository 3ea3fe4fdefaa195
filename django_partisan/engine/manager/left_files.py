"""Presence files that were left behind: a manager of another host rescued the tasks."""

from django.db.backends.base.base import BaseDatabaseWrapper

from django_partisan.engine.presence import dead_with, if_dead
from django_partisan.sql import leasing
from django_partisan.sql.connection import identity_of


def remove_left_files(connection: BaseDatabaseWrapper) -> None:
    """Remove the files of dead managers of this host and database that have no row any more."""
    names = dead_with(identity_of(connection))
    for name in set(names) - leasing.registered_files(connection, names):
        with if_dead(name):
            pass  # which removes it, unless another manager does
