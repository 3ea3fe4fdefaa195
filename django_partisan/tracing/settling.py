"""Spans of runs on their way to the settle that writes their outcomes, which is to link to them.

A worker notes them and hands them up with the outcomes; its manager keeps them until these are settled.
"""

from collections.abc import Iterable
from typing import Any, Final

from opentelemetry.trace import Link, Span

from django_partisan.tracing.carrying import links_to, traceparent

AWAITED_MAX: Final = 100_000
"""Most runs kept for their settle; of claims that were lost no settle is told."""


class RunsToSettle:
    """Hold the runs that ended, by task."""

    def __init__(self) -> None:
        self._ended: list[tuple[int, str]] = []
        self._awaited: dict[int, str] = {}

    def end(self, task_id: int, span: Span) -> None:
        """Note, in a worker, the span of a run whose outcome is known."""
        text = traceparent(span)
        if text is not None:
            self._ended.append((task_id, text))

    def taken(self) -> list[tuple[int, str]]:
        """Return what ended since the last call."""
        ended, self._ended = self._ended, []
        return ended

    def absorb(self, ended: Any) -> None:
        """Keep, in the manager, what a worker's ``taken()`` gave."""
        self._awaited.update(ended)
        while len(self._awaited) > AWAITED_MAX:
            del self._awaited[next(iter(self._awaited))]

    def links(self, task_ids: Iterable[int]) -> list[Link]:
        """Return links to the runs of these tasks, and forget them."""
        return links_to([self._awaited.pop(task_id, None) for task_id in task_ids])
