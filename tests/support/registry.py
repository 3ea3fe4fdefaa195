"""A separate registry for one test."""

from collections.abc import Iterator
from contextlib import contextmanager
from types import ModuleType

from django_partisan import registry
from django_partisan.processor import BaseTaskProcessor


class Idle(BaseTaskProcessor):
    """A processor to register in tests that do not run it."""

    def run(self) -> None:
        """Do nothing."""


@contextmanager
def empty_registry() -> Iterator[None]:
    """Empty the registry of processors inside a ``with`` block, and restore it at its end."""
    before = dict(registry.definitions)
    registry._definitions.clear()
    registry.version += 1
    try:
        yield
    finally:
        registry._definitions.clear()
        registry._definitions.update(before)
        registry.version += 1


def register_processors_of(module: ModuleType) -> None:
    """Register every processor class defined in a test module."""
    for value in vars(module).values():
        if (
            isinstance(value, type)
            and issubclass(value, BaseTaskProcessor)
            and value.__module__ == module.__name__
        ):
            registry.register(value)
