"""The task definitions by name, and how the code that makes them is found."""

from collections.abc import Callable, Mapping
from types import MappingProxyType
from typing import Any, Final, TypeVar

from django.utils.module_loading import autodiscover_modules

from django_partisan.definitions import TaskDefinition
from django_partisan.exceptions import ProcessorClassAlreadyRegistered, UnregisteredTask
from django_partisan.names import PROCESSOR_NAME_MAX_LENGTH

# The module of each installed app that is imported to find its processors.
MODULE = "partisan_tasks"

P = TypeVar("P", bound=type[Any])

_definitions: dict[str, TaskDefinition] = {}
# Every registered definition by name; a read-only view.
definitions: Final[Mapping[str, TaskDefinition]] = MappingProxyType(_definitions)
# Return the definition registered under a name, or ``None``.
find: Final[Callable[[str], TaskDefinition | None]] = _definitions.get


def register(processor_class: P) -> P:
    """Register a processor class under its ``__name__``; use as a decorator.

    Raises ``ProcessorClassAlreadyRegistered`` if another class has the name, ``UnsupportedRunMethod``
    if ``run()`` is a generator function, and ``ValueError`` if the name is too long for the table.
    """
    definition = TaskDefinition.of_processor(processor_class)
    name = definition.name
    if len(name) > PROCESSOR_NAME_MAX_LENGTH:
        raise ValueError(
            f"Processor name {name!r} has {len(name)} characters; at most {PROCESSOR_NAME_MAX_LENGTH} fit."
        )
    known = processor_class if name not in _definitions else _definitions[name].source
    if (known.__module__, known.__qualname__) != (processor_class.__module__, processor_class.__qualname__):
        raise ProcessorClassAlreadyRegistered(
            f"Two processors are named {name!r}: one in {known.__module__}, "
            f"one in {processor_class.__module__}. "
            "Rename one of them: a task's row carries only the class name."
        )
    _definitions[name] = definition
    return processor_class


def unknown(name: str) -> UnregisteredTask:
    """Return the error that says how to have ``name`` registered."""
    return UnregisteredTask(
        f"No processor is registered as {name!r}. Decorate the class with @registry.register and "
        f"import it from a {MODULE}.py in the root of an installed app."
    )


def definition_of(processor_class: type[Any]) -> TaskDefinition:
    """Return the definition of a processor class, also of one that is not registered."""
    known = find(processor_class.__name__)
    if known is not None and known.source is processor_class:
        return known
    return TaskDefinition.of_processor(processor_class)


def autodiscover() -> None:
    """Import ``partisan_tasks`` of every installed app; an error inside one is raised as it is."""
    autodiscover_modules(MODULE)
