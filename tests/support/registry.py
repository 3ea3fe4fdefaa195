"""A registry of the test's own."""

from collections.abc import Iterator
from contextlib import contextmanager
from types import ModuleType

from django_partisan import registry
from django_partisan.processor import BaseTaskProcessor


class Idle(BaseTaskProcessor):
    """A processor that can be registered, for tests in which it is not run."""

    def run(self) -> None:
        """Do nothing."""


@contextmanager
def empty_registry() -> Iterator[None]:
    """Empty the registry of processors for the length of a ``with``, and restore it."""
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
    """Register every processor class that a module of tests defines."""
    for value in vars(module).values():
        if (
            isinstance(value, type)
            and issubclass(value, BaseTaskProcessor)
            and value.__module__ == module.__name__
        ):
            registry.register(value)
