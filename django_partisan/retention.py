"""Determine how long the rows of ended tasks are kept.

The processor's attribute overrides the key of the task's queue. A queue that the settings do not define
uses the values of the queue ``default``.
"""

import json
import math
from collections.abc import Collection, Iterator, Mapping
from itertools import product
from typing import Any, Final, NamedTuple, TypeAlias

from django_partisan import registry
from django_partisan.config import task_backends
from django_partisan.config.problems import VANISHING_RESULTS, Problem
from django_partisan.config.queues import named_queues, queue_names, queue_value
from django_partisan.definitions import KEEP_FAILED, KEEP_FINISHED
from django_partisan.models import Task
from django_partisan.names import DEFAULT_QUEUE

FOREVER: Final = math.inf
LEAST_FOR_RESULTS_SECONDS: Final = 60
"""If the row of a result is deleted earlier, many callers will not have read the result yet."""
_LONG_ENOUGH: Final = f"at least {LEAST_FOR_RESULTS_SECONDS} if results are kept, or None"
Seconds: TypeAlias = Mapping[str, float]
"""By status, how many seconds rows are kept after the end of their task."""


class Rules(NamedTuple):
    """How long rows are kept: by processor, otherwise by queue, otherwise as in ``others``."""

    processors: Mapping[str, Seconds]
    queues: Mapping[str, Seconds]
    others: Seconds

    @property
    def shortest(self) -> float:
        """The shortest time that any row is kept, in seconds; ``FOREVER`` if no row is ever deleted."""
        every = [*self.processors.values(), *self.queues.values(), self.others]
        return min((seconds for kept in every for seconds in kept.values()), default=FOREVER)

    def only(self, statuses: Collection[str]) -> "Rules":
        """Return rules that keep the rows of all other statuses forever."""
        return Rules(
            {name: _with_statuses(statuses, kept) for name, kept in self.processors.items()},
            {name: _with_statuses(statuses, kept) for name, kept in self.queues.items()},
            _with_statuses(statuses, self.others),
        )

    def kept_longer(self, seconds: float) -> "Rules":
        """Return rules that keep each row for ``seconds`` longer."""
        return Rules(
            {name: _longer(kept, seconds) for name, kept in self.processors.items()},
            {name: _longer(kept, seconds) for name, kept in self.queues.items()},
            _longer(self.others, seconds),
        )

    def as_json(self) -> str:
        """Return the rules as JSON for a statement; ``FOREVER`` is text, because JSON has no such number."""
        return json.dumps(_without_infinity(self._asdict()))


def rules() -> Rules:
    """Return the rules of the settings and the registered processors."""
    queues = {name: _kept_by_queue(name) for name in queue_names()}
    processors = {
        name: _without_none({Task.STATUS_FINISHED: one.keep_finished, Task.STATUS_ERROR: one.keep_failed})
        for name, one in registry.definitions.items()
    }
    set_by_processor = {name: kept for name, kept in processors.items() if kept}
    return Rules(set_by_processor, queues, queues[DEFAULT_QUEUE])


def queues_of_manager(own: str) -> tuple[str, ...]:
    """Return the queues that a manager of queue ``own`` prunes.

    Other projects may share the table, and the settings of their queues are not available here.
    """
    return tuple(dict.fromkeys((own, *named_queues())))


def queues_of_project() -> tuple[str, ...]:
    """Return the queues to whose rows the settings apply; ``default`` alone if the settings name none."""
    return tuple(named_queues()) or (DEFAULT_QUEUE,)


def rules_of_age(seconds: float, statuses: Collection[str]) -> Rules:
    """Return rules that keep rows of some statuses for ``seconds``, and all others forever."""
    return Rules({}, {}, dict.fromkeys(statuses, seconds))


def problems() -> Iterator[Problem]:
    """Yield a problem for each retention that is too short for stored results."""
    queues = dict.fromkeys(task_backends.queue_names())
    for name, one in registry.definitions.items():
        if one.keeps_result and isinstance(one.queue, str):  # another check reports other types
            queues[one.queue] = None
            for key, kept in ((KEEP_FINISHED, one.keep_finished), (KEEP_FAILED, one.keep_failed)):
                yield from _too_short(f"{name}.{key}", kept, one.source)
    for queue, key in product(queues, (KEEP_FINISHED, KEEP_FAILED)):
        yield from _too_short(f"PARTISAN_CONFIG[{queue!r}][{key!r}]", queue_value(queue, key))


def _too_short(place: str, kept: Any, source: Any = None) -> Iterator[Problem]:
    if isinstance(kept, int | float) and kept < LEAST_FOR_RESULTS_SECONDS:
        processor_class = source if isinstance(source, type) else None
        yield Problem(VANISHING_RESULTS, place, kept, _LONG_ENOUGH, processor_class=processor_class)


def _with_statuses(statuses: Collection[str], kept: Seconds) -> Seconds:
    return {status: seconds for status, seconds in kept.items() if status in statuses}


def _longer(kept: Seconds, seconds: float) -> Seconds:
    return {status: one + seconds for status, one in kept.items()}


def _kept_by_queue(name: str) -> dict[str, float]:
    kept = {Task.STATUS_FINISHED: KEEP_FINISHED, Task.STATUS_ERROR: KEEP_FAILED}
    found = {status: queue_value(name, key) for status, key in kept.items()}
    return {status: FOREVER if seconds is None else seconds for status, seconds in found.items()}


def _without_none(kept: Mapping[str, float | None]) -> dict[str, float]:
    return {status: seconds for status, seconds in kept.items() if seconds is not None}


def _without_infinity(value: Any) -> Any:
    if isinstance(value, Mapping):
        return {key: _without_infinity(inner) for key, inner in value.items()}
    return "Infinity" if value == FOREVER else value
