"""Fixtures: the backend under test, with an empty list of notes."""

from typing import Any

import pytest

from tests.app import framework_tasks

from .under_test import UnderTest


@pytest.fixture
def backend(settings: Any) -> type[UnderTest]:
    """Make the backend under test the default one, with two queues."""
    settings.TASKS = UnderTest.settings(QUEUES=["default", "mail"])
    framework_tasks.notes.clear()
    return UnderTest
