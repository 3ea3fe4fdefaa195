"""Check that a class can be registered: a processor whose ``run()`` a worker can call.

A worker calls ``run()`` without arguments. Any other ``run()`` is refused at registration, before a task of
the class can fail.
"""

import reprlib
from functools import partialmethod
from inspect import Signature, getattr_static
from types import FunctionType
from typing import Any, Final

from django_partisan.exceptions import NotAProcessor, UnsupportedRunMethod

# Types of attributes that become methods; their arguments are known without a call.
_METHODS: Final = (FunctionType, staticmethod, classmethod, partialmethod)


class ProcessorBase:
    """The base class of ``BaseTaskProcessor``, for modules that cannot import the latter."""


def ensure_registrable(candidate: Any) -> None:
    """Raise ``NotAProcessor`` or ``UnsupportedRunMethod`` unless workers can run tasks of ``candidate``."""
    if not (isinstance(candidate, type) and issubclass(candidate, ProcessorBase)):
        raise NotAProcessor(
            f"@registry.register was applied to {described(candidate)}; expected a subclass of "
            "django_partisan.processor.BaseTaskProcessor that has a run() method."
        )
    run = getattr_static(candidate, "run")
    name = f"The processor {candidate.__name__!r} in {candidate.__module__}"
    if getattr(run, "__isabstractmethod__", False):
        raise UnsupportedRunMethod(
            f"{name} has no run(); expected a method that does the work. Define `def run(self)` or "
            "`async def run(self)`. Do not register a class that is only a base class."
        )
    if not callable(getattr(candidate, "run")):  # noqa: B009 - mypy knows no ``run`` of an arbitrary class
        raise UnsupportedRunMethod(f"{name} has run = {run!r}; expected a method. Define `def run(self)`.")
    if isinstance(run, _METHODS):
        try:
            # Do not follow decorators: a wrapped function may need arguments that its decorator passes.
            Signature.from_callable(run.__get__(object(), candidate), follow_wrapped=False).bind()
        except TypeError as error:
            raise UnsupportedRunMethod(
                f"run() of the processor {candidate.__name__!r} in {candidate.__module__} cannot be called "
                f"without arguments ({error}); expected `def run(self)`. The arguments of the task are in "
                "self.args and self.kwargs."
            ) from None


def described(candidate: Any) -> str:
    """Return a description of a class, a function or another object for a message."""
    if isinstance(candidate, type):
        return f"the class {candidate.__name__!r} in {candidate.__module__}"
    if isinstance(candidate, FunctionType):
        return f"the function {candidate.__name__!r} in {candidate.__module__}"
    return f"{reprlib.repr(candidate)} of type {type(candidate).__name__!r}"
