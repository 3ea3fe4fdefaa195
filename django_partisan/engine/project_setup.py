"""Call a project's function that prepares a process before Django's settings are read.

A worker starts in a new interpreter that has not run the project's ``manage.py``, so it must repeat whatever
that does in addition to setting ``DJANGO_SETTINGS_MODULE``. The fork server reads the path of the function
from an environment variable. This module must not import anything from Django at module level.
"""

import os
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from importlib import import_module
from typing import Any, Final

from django_partisan.exceptions import CannotStart

VARIABLE: Final = "PARTISAN_SETUP"
DJANGO_CONFIGURATIONS: Final = "configurations.importer"
_SETTINGS_MODULE: Final = "DJANGO_SETTINGS_MODULE"
_called: Final[set[str]] = set()


def set_up_process() -> None:
    """Call the function, unless it has succeeded in this process or in one that it was forked from."""
    path = os.environ.get(VARIABLE)
    if path and path not in _called:
        _function_at(path)()
        _called.add(path)


@contextmanager
def exported_setup(option: str | None) -> Iterator[None]:
    """Make child processes call the function that the option or the environment variable names.

    It is not called in this process, which has already read its settings. Raises ``CannotStart`` if the
    function does not exist, or if none is named and one is needed.
    """
    before = os.environ.get(VARIABLE)
    path = _checked("--setup", option) or _checked(VARIABLE, before) or _known()
    if path is not None:
        os.environ[VARIABLE] = path
    try:
        yield
    finally:
        if before is None:
            os.environ.pop(VARIABLE, None)
        else:
            os.environ[VARIABLE] = before


def _function_at(path: str) -> Callable[[], Any]:
    module, _, name = path.rpartition(".")
    function: Callable[[], Any] = getattr(import_module(module), name)
    return function


def _checked(place: str, path: str | None) -> str | None:
    if not path:
        return None
    try:
        found = callable(_function_at(path))
        why = "" if found else "it is not callable"
    except Exception as error:
        why = f"{type(error).__name__}: {error}"
    if why:
        raise CannotStart(
            f"{place} is {path!r}, which cannot be called ({why}).",
            "Give the dotted path of a function without arguments: package.module.function",
        )
    return path


def _known() -> str | None:
    """Return the function of django-configurations if it is in use; ``None`` if no function is needed."""
    importer = sys.modules.get(DJANGO_CONFIGURATIONS)
    if getattr(importer, "installed", False):
        return f"{DJANGO_CONFIGURATIONS}.install"
    if os.environ.get(_SETTINGS_MODULE) not in sys.modules:
        raise CannotStart(
            f"The settings of this process do not come from the module that {_SETTINGS_MODULE} names "
            "(settings.configure() was called), so no worker can read them.",
            "Name the function that prepares them: --setup package.module.function, or PARTISAN_SETUP.",
        )
    return None
