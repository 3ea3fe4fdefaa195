"""Find names of processor attributes and of settings that look misspelled.

An attribute looks misspelled if its name is close to a known one and it is not read in the modules of its
class, of that class's bases, and of the processors that inherit from it: if it is read, it is the user's own.
"""

import inspect
import re
import sys
from collections.abc import Collection, Iterator
from difflib import get_close_matches
from typing import Any, Final

from django.conf import settings

from django_partisan import registry
from django_partisan.config import queue_keys
from django_partisan.config.problems import MISSPELT_ATTRIBUTE, MISSPELT_SETTING, Problem
from django_partisan.processor_validation import ATTRIBUTES, QUEUE_ATTRIBUTE

SETTINGS: Final = ("PARTISAN_CONFIG", "PARTISAN_SCHEDULES", "PARTISAN_OBSERVABILITY", "PARTISAN_IMMEDIATE")
_OF_PROCESSORS: Final = (QUEUE_ATTRIBUTE, *ATTRIBUTES)
_PACKAGE: Final = __name__.partition(".")[0]

# How similar a misspelled name must be to the known one, from 0 to 1.
_CLOSENESS: Final = 0.8
# Words that are too common to recognize a known name by.
_VAGUE_WORDS: Final = {
    "CONFIG", "COUNT", "DEFAULT", "DELAY", "ERROR", "FOR", "INSTANCE", "MAX", "MIN", "NAME", "OBSERVABILITY",
    "ON", "PARAMS", "PER", "SECONDS", "SIZE", "TASKS",
}  # fmt: skip


def problems() -> Iterator[Problem]:
    """Yield each setting, and each attribute of a registered processor, that looks misspelled."""
    for name in dir(settings):
        if close := close_to(name, SETTINGS):
            yield Problem(MISSPELT_SETTING, "The name of a setting", name, repr(close))
    for owner, modules in _modules_by_class().items():
        yield from _of_class(owner, modules)


def close_to(name: str, known: Collection[str]) -> str | None:
    """Return the known name that ``name`` probably means; ``None`` if there is none or it is itself known."""
    if name in known:
        return None
    words = set(name.upper().split("_"))
    for one in known:
        if name.upper() == one or (not words <= _VAGUE_WORDS and words <= set(one.split("_"))):
            return one
    return next(iter(get_close_matches(name, known, 1, _CLOSENESS)), None)


def _modules_by_class() -> dict[type[Any], set[str]]:
    """Return the user's classes among the bases of processors, with the modules that may use their names."""
    found: dict[type[Any], set[str]] = {}
    for processor_class in registry.processor_classes():
        classes = [
            one
            for one in processor_class.__mro__
            if not one.__module__.startswith((f"{_PACKAGE}.", "builtins"))
        ]
        for one in classes:
            found.setdefault(one, set()).update(other.__module__ for other in classes)
    return found


def _of_class(owner: type[Any], modules: Collection[str]) -> Iterator[Problem]:
    for name, value in vars(owner).items():
        if name.startswith("_") or callable(value) or hasattr(type(value), "__get__"):
            continue
        expected = _expected(name)
        if expected is not None and not any(_is_read(name, module) for module in modules):
            place = f"The name of an attribute of {owner.__name__}"
            yield Problem(MISSPELT_ATTRIBUTE, place, name, expected, processor_class=owner)


def _expected(name: str) -> str | None:
    """Return what was expected instead of an attribute's name; ``None`` if it is valid or the user's own."""
    if name in _OF_PROCESSORS:
        return None
    if close := close_to(name, _OF_PROCESSORS):
        return repr(close)
    key = name if name in queue_keys.KEYS else close_to(name, queue_keys.KEYS)
    return key and f"one that the library reads; {key!r} is a key of a queue in PARTISAN_CONFIG"


def _is_read(name: str, module: str) -> bool:
    """Return whether a module uses the name for anything but setting an attribute."""
    try:
        source = inspect.getsource(sys.modules[module])
    except (KeyError, OSError, TypeError):  # without its source, assume that it does
        return True
    everywhere = re.findall(rf"\b{re.escape(name)}\b", source)
    assigned = re.findall(rf"^[ \t]+{re.escape(name)}[ \t]*(?::[^=\n]*)?=(?!=)", source, re.MULTILINE)
    return len(everywhere) > len(assigned)
