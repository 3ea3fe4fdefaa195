"""Processors for schedules."""

from typing import Any

import pytest

from django_partisan import registry
from tests.support.registry import Idle


class Report(Idle):
    """A processor that takes one argument."""

    UNIQUE_FOR_PARAMS = False

    def __init__(self, year: int = 2026) -> None:
        super().__init__(year)


class Cleanup(Idle):
    """A unique processor."""


@pytest.fixture(autouse=True)
def _processors(own_registry: None, settings: Any) -> None:
    registry.register(Report)
    registry.register(Cleanup)
    settings.TIME_ZONE = "UTC"
