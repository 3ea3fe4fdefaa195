"""Fixtures: browsers, and a second database connection."""

from collections.abc import Iterator

import pytest
from django.db.backends.base.base import BaseDatabaseWrapper
from django.test import Client

from django_partisan.sql.connection import open_connection


@pytest.fixture
def browser(admin_client: Client) -> Client:
    """A client logged in as a superuser."""
    return admin_client


@pytest.fixture
def second(transactional_db: None) -> Iterator[BaseDatabaseWrapper]:
    """A second connection, like another process's; both see only committed rows of each other."""
    connection = open_connection("second")
    yield connection
    connection.close()
