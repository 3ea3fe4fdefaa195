"""Have components read the tables that operators write, when a notification arrives."""

from collections.abc import Mapping
from typing import Protocol

from django_partisan.sql.control import EVERY_QUEUE, decoded


class Looks(Protocol):
    """A component that looks with each heartbeat, and earlier when asked."""

    def look_now(self) -> None:
        """Look in the next turn."""


class Controls:
    """Pass each notification of the control channel to the component that looks there.

    ``components`` maps the payload's word for where to look to the component that looks there. Payloads for
    another queue or ``schema``, and unknown ones, are ignored. An empty ``schema`` matches any.
    """

    def __init__(self, queue: str, schema: str, components: Mapping[str, Looks]) -> None:
        self._queue = queue
        self._schema = schema
        self._components = components

    def notified(self, payloads: set[str] | None) -> None:
        """Have the named components look; all of them if notifications may have been missed."""
        names = set(self._components) if payloads is None else self._named(payloads)
        for name in names & self._components.keys():
            self._components[name].look_now()

    def _named(self, payloads: set[str]) -> set[str]:
        return {
            control.look
            for control in map(decoded, payloads)
            if control is not None
            and control.queue in (self._queue, EVERY_QUEUE)
            and self._schema in ("", control.schema)
        }
