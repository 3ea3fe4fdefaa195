"""Pass control notifications to the components, which then read the tables that operators write."""

from collections.abc import Mapping
from typing import Protocol

from django_partisan.sql.control import EVERY_QUEUE, decoded


class TableReader(Protocol):
    """A component that reads a table with each heartbeat, and earlier when asked."""

    def read_now(self) -> None:
        """Read the table in the next turn."""


class Controls:
    """The receiver of the control channel: it passes each notification to the component in charge.

    ``components`` maps values of the payload's field ``look`` to components. Payloads for another queue or
    ``schema`` are ignored, and so are unknown ones. An empty ``schema`` matches any.
    """

    def __init__(self, queue: str, schema: str, components: Mapping[str, TableReader]) -> None:
        self._queue = queue
        self._schema = schema
        self._components = components

    def notified(self, payloads: set[str] | None) -> None:
        """Notify the components that ``payloads`` name.

        ``None`` means that notifications may have been missed: all components are notified.
        """
        names = set(self._components) if payloads is None else self._named(payloads)
        for name in names & self._components.keys():
            self._components[name].read_now()

    def _named(self, payloads: set[str]) -> set[str]:
        return {
            control.look
            for control in map(decoded, payloads)
            if control is not None
            and control.queue in (self._queue, EVERY_QUEUE)
            and self._schema in ("", control.schema)
        }
