"""Check that a task can be called with the arguments of a schedule, and that they can be stored."""

from inspect import Signature
from typing import Any

from django_partisan import arguments
from django_partisan.definitions import TaskDefinition


def refusal(definition: TaskDefinition, args: list[Any], kwargs: dict[str, Any]) -> str | None:
    """Return why a task cannot be enqueued with these arguments; ``None`` if it can."""
    try:
        arguments.encode(definition.name, tuple(args), kwargs)
    except (TypeError, ValueError) as error:
        return str(error).rstrip(".")
    source = definition.source
    code = source.__init__ if isinstance(source, type) else source  # type: ignore[misc] # that of this class
    before = [None] if isinstance(source, type) or definition.takes_context else []
    try:
        Signature.from_callable(code, follow_wrapped=False).bind(*before, *args, **kwargs)
    except TypeError as error:
        return f"{definition.name}: {error}"
    return None
