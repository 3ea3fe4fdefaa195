"""A registry of the test's own."""

from collections.abc import Iterator
from contextlib import contextmanager

from django_partisan import registry


@contextmanager
def empty_registry() -> Iterator[None]:
    """Empty the registry of processors for the length of a ``with``, and restore it."""
    before = dict(registry.registered())
    registry._classes.clear()
    try:
        yield
    finally:
        registry._classes.clear()
        registry._classes.update(before)
