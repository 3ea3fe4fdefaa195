"""The backend under test, and what its functions noted."""

from typing import Any

import pytest

from tests.app import framework_tasks

from .under_test import UnderTest


@pytest.fixture
def backend(settings: Any) -> type[UnderTest]:
    """Have the backend under test as the default one, with two queues."""
    settings.TASKS = UnderTest.settings(QUEUES=["default", "mail"])
    framework_tasks.notes.clear()
    return UnderTest
