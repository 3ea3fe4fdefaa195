"""Restore registry and subscribers around each test."""

import pytest


@pytest.fixture(autouse=True)
def registry_as_it_was(own_registry: None) -> None:
    pass


@pytest.fixture
def nobody_listens(no_subscribers: None) -> None:
    pass
