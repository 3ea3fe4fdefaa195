"""A registry of the test's own."""

from collections.abc import Iterator
from contextlib import contextmanager

from django_partisan import registry


@contextmanager
def empty_registry() -> Iterator[None]:
    """Empty the registry of processors for the length of a ``with``, and restore it."""
    before = dict(registry.definitions)
    registry._definitions.clear()
    try:
        yield
    finally:
        registry._definitions.clear()
        registry._definitions.update(before)
