"""The processor classes by name, and how they are found."""

from collections.abc import Mapping
from types import MappingProxyType
from typing import TYPE_CHECKING, TypeVar

from django.utils.module_loading import autodiscover_modules

from django_partisan.exceptions import ProcessorClassAlreadyRegistered, ProcessorClassNotFound
from django_partisan.names import PROCESSOR_NAME_MAX_LENGTH

if TYPE_CHECKING:
    from django_partisan.processor import BaseTaskProcessor

MODULE = "partisan_tasks"
"""The module of each installed app that is imported to find its processors."""

P = TypeVar("P", bound="type[BaseTaskProcessor]")

_classes: dict[str, "type[BaseTaskProcessor]"] = {}


def register(processor_class: P) -> P:
    """Register a processor class under its ``__name__``; use as a decorator.

    Raises ``ProcessorClassAlreadyRegistered`` if another class has the name, and ``ValueError``
    if the name is too long for the table.
    """
    name = processor_class.__name__
    if len(name) > PROCESSOR_NAME_MAX_LENGTH:
        raise ValueError(
            f"Processor name {name!r} has {len(name)} characters; at most {PROCESSOR_NAME_MAX_LENGTH} fit."
        )
    known = _classes.get(name)
    if known is not None and _place(known) != _place(processor_class):
        raise ProcessorClassAlreadyRegistered(
            f"Two processors are named {name!r}: one in {known.__module__}, "
            f"one in {processor_class.__module__}. "
            "Rename one of them: a task's row carries only the class name."
        )
    _classes[name] = processor_class
    return processor_class


def processor_class(name: str) -> "type[BaseTaskProcessor]":
    """Return the class registered under ``name``; raises ``ProcessorClassNotFound``."""
    try:
        return _classes[name]
    except KeyError:
        raise ProcessorClassNotFound(
            f"No processor is registered as {name!r}. Decorate the class with @registry.register and "
            f"import it from a {MODULE}.py in the root of an installed app."
        ) from None


def registered() -> Mapping[str, "type[BaseTaskProcessor]"]:
    """Return a read-only view of the processor classes by name."""
    return MappingProxyType(_classes)


def autodiscover() -> None:
    """Import ``partisan_tasks`` of every installed app; an error inside one is raised as it is."""
    autodiscover_modules(MODULE)


def _place(processor_class: "type[BaseTaskProcessor]") -> tuple[str, str]:
    return processor_class.__module__, processor_class.__qualname__
