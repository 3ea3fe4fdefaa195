"""Link the spans of a task: a run to its enqueueing and its previous run, a settle to the runs it settles."""

import json
from collections.abc import Iterable, Mapping
from itertools import islice
from typing import Any, Final

from opentelemetry.context import Context
from opentelemetry.trace import Link, Span, SpanContext

from django_partisan.config import observability
from django_partisan.telemetry.events.values import Run, TaskRef
from django_partisan.tracing.context import ROOT, extracted, with_remote_parent
from django_partisan.tracing.spans import LINK, LINK_PREVIOUS_RUN, LINKS_MAX, PREVIOUS_SPAN
from django_partisan.tracing.traceparents import parsed, traceparent

RUNS_KEPT_MAX: Final = 100_000
"""How many runs a manager keeps until they are settled; runs whose claims were lost never are."""


def relation_of_run(run: Run | TaskRef, propagation: str | None) -> tuple[Context, Context, list[Link]]:
    """Return the parent of a run's span, the context in which the task runs, and the span's links.

    These are to the enqueueing and, from the second run on, to the previous run. ``propagation`` is the
    processor's own ``TRACE_PROPAGATION``, if any.
    """
    propagation = propagation or observability.value("TRACE_PROPAGATION")
    carried, enqueuer = extracted(run.headers)
    links = [] if enqueuer is None else [Link(enqueuer, {})]
    if run.attempt > 1:
        previous = parsed(run.headers.get(PREVIOUS_SPAN)) if isinstance(run.headers, Mapping) else None
        if previous is not None:
            links.append(Link(previous, {LINK: LINK_PREVIOUS_RUN}))
        return ROOT, carried, links
    if propagation == observability.PROPAGATION_NONE:
        return ROOT, ROOT, []
    is_child = propagation == observability.PROPAGATION_CHILD
    return with_remote_parent(enqueuer, carried) if is_child else ROOT, carried, links


def links_to_enqueueings(contexts: Iterable[str]) -> list[Link]:
    """Return links to the first enqueueings; ``contexts`` are carried by the tasks' rows, as JSON text."""
    return _links(extracted(_decoded(text))[1] for text in islice(contexts, LINKS_MAX))


class RunsToSettle:
    """The spans of runs whose outcomes are not settled yet; the settle span links to them.

    A worker adds them and sends them with the outcomes; its manager absorbs and keeps them until these are
    settled.
    """

    def __init__(self) -> None:
        self._traceparents: dict[int, str] = {}

    def add(self, task_id: int, span: Span) -> None:
        """Add, in a worker, the span of a run whose outcome is known."""
        text = traceparent(span)
        if text is not None:
            self._traceparents[task_id] = text

    def taken(self) -> list[tuple[int, str]]:
        """Return the runs added since the last call, as pairs of task id and ``traceparent``."""
        # Replaced before they are read, because the exporter's thread may report while a run ends.
        ended, self._traceparents = self._traceparents, {}
        return list(ended.items())

    def absorb(self, ended: Iterable[tuple[int, str]]) -> None:
        """Keep, in the manager, the runs that a worker's ``taken()`` returned."""
        self._traceparents.update(ended)
        while len(self._traceparents) > RUNS_KEPT_MAX:
            del self._traceparents[next(iter(self._traceparents))]

    def links(self, task_ids: Iterable[int]) -> list[Link]:
        """Return links to the runs of these tasks, and remove the runs."""
        runs = [self._traceparents.pop(task_id, None) for task_id in task_ids]
        return _links(map(parsed, islice(filter(None, runs), LINKS_MAX)))


def _links(contexts: Iterable[SpanContext | None]) -> list[Link]:
    return [Link(context, {}) for context in contexts if context is not None]


def _decoded(text: str) -> Any:
    try:
        return json.loads(text)
    except (ValueError, RecursionError):  # malformed, or nested far too deep
        return None
