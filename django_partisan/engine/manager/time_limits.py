"""The time limits of the processors of one queue."""

import math
from collections.abc import Mapping

from django_partisan import registry
from django_partisan.definitions import TaskDefinition


class TimeLimits:
    """How long a run of each processor may take; ``default`` is the queue's limit, ``None`` for no limit.

    ``definitions`` may change later, which also changes the version of the registry.
    """

    def __init__(
        self,
        default: float | None,
        definitions: Mapping[str, TaskDefinition] = registry.definitions,
    ) -> None:
        self._definitions = definitions
        self._default = math.inf if default is None else default
        self._seen = -1
        self._shortest = self._default

    @property
    def shortest(self) -> float:
        """The shortest limit in seconds; infinite if there is none."""
        if registry.version != self._seen:
            self._seen = registry.version
            self._shortest = min(map(self.of, self._definitions), default=self._default)
            self._shortest = min(self._shortest, self._default)
        return self._shortest

    def of(self, processor: str) -> float:
        """Return the limit of a processor in seconds; infinite if it has none."""
        definition = self._definitions.get(processor)
        return self._default if definition is None else definition.run_limit(self._default)
