"""The registry of task definitions by name, and the discovery of the modules that register them."""

from collections.abc import Callable, Mapping
from importlib import import_module
from types import MappingProxyType
from typing import Any, Final, TypeVar

from django.utils.module_loading import autodiscover_modules

from django_partisan.config import task_backends
from django_partisan.definitions import TaskDefinition
from django_partisan.exceptions import (
    ProcessorClassAlreadyRegistered,
    ProcessorClassNotFound,
    UnregisteredTask,
)
from django_partisan.names import PROCESSOR_NAME_MAX_LENGTH
from django_partisan.registrable import ensure_registrable

# The module of each installed app that is imported to find its processors.
MODULE = "partisan_tasks"
# The same for functions of Django's task framework.
FUNCTIONS_MODULE: Final = "tasks"

_REGISTER: Final = (
    f"Decorate the class with @registry.register and import it from a {MODULE}.py in the root of an "
    "installed app."
)

P = TypeVar("P", bound=type[Any])

_definitions: dict[str, TaskDefinition] = {}
# Every registered definition by name; a read-only view.
definitions: Final[Mapping[str, TaskDefinition]] = MappingProxyType(_definitions)
# Called with the object at the path of a task; each registers it if it is of its kind.
finders: Final[list[Callable[[Any], object]]] = []
# Return the definition registered under a name, or ``None``.
find: Final[Callable[[str], TaskDefinition | None]] = _definitions.get

version = 0
"""Changes with each registration, even of a known name; read it as ``registry.version``."""


def register(processor_class: P) -> P:
    """Register a processor class under its ``__name__``; use as a decorator.

    Raises ``NotAProcessor``; ``UnsupportedRunMethod`` if ``run()`` is missing, needs arguments or is a
    generator function; ``ProcessorClassAlreadyRegistered`` if another class has the name; and
    ``ValueError`` if the name is too long for the table.
    """
    ensure_registrable(processor_class)
    definition = TaskDefinition.of_processor(processor_class)
    name = definition.name
    if len(name) > PROCESSOR_NAME_MAX_LENGTH:
        raise ValueError(
            f"Processor name {name!r} has {len(name)} characters; "
            f"expected at most {PROCESSOR_NAME_MAX_LENGTH}."
        )
    known = processor_class if name not in _definitions else _definitions[name].source
    if not _are_one(known, processor_class):
        raise ProcessorClassAlreadyRegistered(
            f"Two processors are named {name!r}: one in {known.__module__}, "
            f"one in {processor_class.__module__}. "
            "Rename one of them: a task's row stores only the class name."
        )
    add(definition)
    return processor_class


def processor_classes() -> list[type[Any]]:
    """Return the registered processor classes."""
    return [one.source for one in _definitions.values() if isinstance(one.source, type)]


def add(definition: TaskDefinition) -> None:
    """Register a definition; replace one of the same name."""
    global version
    _definitions[definition.name] = definition
    version += 1


def find_or_import(name: str) -> TaskDefinition | None:
    """Return the definition of a name; if the name is the path of a function, import its module if needed.

    Raises any error that the import raises.
    """
    module, _, attribute = name.rpartition(".")
    if name not in _definitions and module:
        try:
            found = getattr(import_module(module), attribute, None)
            for finder in finders:
                finder(found)
        except ModuleNotFoundError as error:
            if error.name is None or not f"{module}.".startswith(f"{error.name}."):
                raise  # the module exists, but one that it imports does not
    return find(name)


def unknown(name: str) -> UnregisteredTask:
    """Return the error for a name that is not registered, with the remedy."""
    return UnregisteredTask(f"No processor is registered as {name!r}. {_REGISTER}")


def definition_of(processor_class: type[Any]) -> TaskDefinition:
    """Return the definition of a registered processor class; raise ``ProcessorClassNotFound``.

    A class whose module was imported again has the name of the registered class, but its own definition.
    """
    known = find(processor_class.__name__)
    if known is not None and known.source is processor_class:
        return known
    if known is not None and _are_one(known.source, processor_class):
        return TaskDefinition.of_processor(processor_class)
    other = "" if known is None else f" Its name is registered for a class in {known.source.__module__}."
    raise ProcessorClassNotFound(
        f"The processor {processor_class.__name__!r} in {processor_class.__module__} is not registered, so "
        f"no worker could run its tasks.{other} {_REGISTER}"
    )


def autodiscover() -> None:
    """Import ``partisan_tasks`` of every installed app; errors that a module raises are not caught.

    If ``TASKS`` has a backend of this library, import ``tasks`` as well.
    """
    autodiscover_modules(MODULE)
    if task_backends.partisan_backends():
        autodiscover_modules(FUNCTIONS_MODULE)


def _are_one(one: Any, other: Any) -> bool:
    """Return whether two classes are the same class, possibly imported twice."""
    return (one.__module__, one.__qualname__) == (other.__module__, other.__qualname__)
