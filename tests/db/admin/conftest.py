"""Browsers, and a second connection."""

from collections.abc import Iterator

import pytest
from django.db.backends.base.base import BaseDatabaseWrapper
from django.test import Client

from django_partisan.sql.connection import open_connection


@pytest.fixture
def browser(admin_client: Client) -> Client:
    """A browser of a superuser."""
    return admin_client


@pytest.fixture
def second(transactional_db: None) -> Iterator[BaseDatabaseWrapper]:
    """Another connection, as another process has one; only committed rows are seen by both."""
    connection = open_connection("second")
    yield connection
    connection.close()
