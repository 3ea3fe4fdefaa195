"""Have components look at the tables in which operators ask for something, when they are notified."""

from collections.abc import Mapping
from typing import Protocol

from django_partisan.sql.control import decoded


class Looks(Protocol):
    """A component that looks with each heartbeat, and earlier when asked."""

    def look_now(self) -> None:
        """Look in the next turn."""


class Controls:
    """Pass each notification of the control channel to the component that looks there.

    ``components`` are those that look, by the word for it in the payload. A payload for another queue or
    ``schema``, or one that is not understood, is ignored. An empty ``schema`` stands for any.
    """

    def __init__(self, queue: str, schema: str, components: Mapping[str, Looks]) -> None:
        self._queue = queue
        self._schema = schema
        self._components = components

    def notified(self, payloads: set[str] | None) -> None:
        """Have the components look that are named; all of them if notifications may have been missed."""
        names = set(self._components) if payloads is None else self._named(payloads)
        for name in names & self._components.keys():
            self._components[name].look_now()

    def _named(self, payloads: set[str]) -> set[str]:
        return {
            control.look
            for control in map(decoded, payloads)
            if control is not None and control.queue == self._queue and self._schema in ("", control.schema)
        }
