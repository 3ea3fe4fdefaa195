"""Custom metrics, which are declared on a processor class and measured inside ``run()``."""

import math
import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from itertools import chain, pairwise
from typing import Any, ClassVar, Final, cast

from django_partisan.config.problems import UNEQUAL_MEASURES, Problem
from django_partisan.config.validation import fits_float
from django_partisan.definitions import TaskDefinition
from django_partisan.metrics.metric import COUNTER, HISTOGRAM, Metric, clean
from django_partisan.telemetry import bus
from django_partisan.telemetry.events.runs import MetricRecorded
from django_partisan.telemetry.events.values import TaskRef

PREFIX: Final = "partisan_user_"
ATTRIBUTE: Final = "MEASURES"
"""The attribute of a processor class that lists its measures."""
OWN_LABELS: Final = ("queue", "processor")
RESERVED_LABELS: Final = frozenset({*OWN_LABELS, "le", "quantile", "job", "instance"})
DEFAULT_BUCKETS: Final = (0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 60, 300)

_NAME = re.compile(r"[a-z][a-z0-9_]*", re.ASCII)


@dataclass(frozen=True)
class Measure:
    """The base class of both kinds of measures."""

    name: str
    help: str
    labels: tuple[str, ...] = ()

    kind: ClassVar[str]

    def __post_init__(self) -> None:
        kind = type(self).__name__
        if not _NAME.fullmatch(self.name):
            raise ValueError(
                f"{kind} name is {self.name!r}; expected lower-case letters, digits and underscores."
            )
        for label in self.labels:
            if not _NAME.fullmatch(label) or label in RESERVED_LABELS or label.startswith("__"):
                reserved = ", ".join(sorted(RESERVED_LABELS))
                raise ValueError(
                    f"{kind} {self.name!r}: label is {label!r}; expected lower-case letters, digits and "
                    f"underscores, and none of {reserved}."
                )
        if len(set(self.labels)) != len(self.labels):
            raise ValueError(f"{kind} {self.name!r}: labels are {self.labels!r}; expected no label twice.")

    @property
    def exported_name(self) -> str:
        """The name of the exported metric."""
        return PREFIX + self.name

    def metric(self) -> Metric:
        """Return the exported metric."""
        return Metric(
            self.exported_name,
            self.kind,
            (*OWN_LABELS, *self.labels),
            ("W",),
            "The user's own.",
            self.help,
            tuple(getattr(self, "buckets", ())),
            open_labels=frozenset(self.labels or ("processor",)),
        )


@dataclass(frozen=True)
class CounterMeasure(Measure):
    """A declared counter, exported as ``partisan_user_{name}_total``.

    Raises ``ValueError`` for a name or a label that Prometheus does not accept.
    """

    kind = COUNTER

    @property
    def exported_name(self) -> str:
        return f"{PREFIX}{self.name.removesuffix('_total')}_total"


@dataclass(frozen=True)
class HistogramMeasure(Measure):
    """A declared histogram, exported as ``partisan_user_{name}``; ``buckets`` are upper bounds.

    Raises ``ValueError`` for a name, a label or bounds that Prometheus does not accept.
    """

    kind = HISTOGRAM
    buckets: tuple[float, ...] = DEFAULT_BUCKETS

    def __post_init__(self) -> None:
        super().__post_init__()
        rising = all(low < high for low, high in pairwise(self.buckets))
        if not self.buckets or not rising or not all(map(fits_float, self.buckets)):
            raise ValueError(
                f"HistogramMeasure {self.name!r}: buckets are {self.buckets!r}; expected increasing numbers."
            )


class Measures:
    """The measures of a running task: ``self.metrics`` inside ``run()``."""

    def __init__(self, processor: str, queue: str, declared: Iterable[Measure]) -> None:
        """Accept the ``declared`` measures, and label them with the registered name and the task's queue."""
        self._processor = processor
        self._queue = queue
        self._declared = {measure.name: (measure, measure.exported_name) for measure in declared}

    def inc(self, name: str, amount: float = 1, **labels: Any) -> None:
        """Add to a counter.

        Raises ``ValueError`` for an undeclared counter, other labels than declared, or an amount below 0.
        """
        metric, values = self._resolve(name, labels, CounterMeasure, "inc()")
        self._require_number(name, amount, at_least=0)
        bus.emit(MetricRecorded, self._queue, self._processor, metric, values, amount)

    def observe(self, name: str, value: float, **labels: Any) -> None:
        """Add to a histogram.

        Raises ``ValueError`` for an undeclared histogram, other labels than declared, or a value that is not
        a finite number.
        """
        metric, values = self._resolve(name, labels, HistogramMeasure, "observe()")
        self._require_number(name, value, at_least=-math.inf)
        bus.emit(MetricRecorded, self._queue, self._processor, metric, values, value)

    def _resolve(
        self, name: str, labels: dict[str, Any], kind: type, method: str
    ) -> tuple[str, tuple[str, ...]]:
        found = self._declared.get(name)
        if found is None:
            known = ", ".join(map(repr, self._declared)) or "none"
            raise ValueError(
                f"{self._processor} declares no measure {name!r}; known: {known}. Add it to {ATTRIBUTE}."
            )
        measure, metric = found
        if not isinstance(measure, kind):
            raise ValueError(
                f"{self._processor}: measure {name!r} is a {type(measure).__name__}, which has no {method}."
            )
        if labels.keys() != set(measure.labels):
            given, expected = sorted(labels), sorted(measure.labels)
            raise ValueError(
                f"{self._processor}: measure {name!r} got the labels {given}; expected {expected}."
            )
        return metric, tuple(clean(str(labels[label])) for label in measure.labels)

    def _require_number(self, name: str, value: Any, at_least: float) -> None:
        number = isinstance(value, int | float) and not isinstance(value, bool)
        if not number or not fits_float(value) or value < at_least:
            bound = "" if at_least == -math.inf else f", at least {at_least}"
            raise ValueError(
                f"{self._processor}: measure {name!r} got {value!r}; expected a finite number{bound}."
            )


def measures_for(task: TaskRef, definition: TaskDefinition) -> Measures:
    """Return ``self.metrics`` for a running task."""
    return Measures(task.processor, task.queue, measures_of(definition))


def measures_of(definition: TaskDefinition) -> tuple[Measure, ...]:
    """Return the measures that the source of a definition declares."""
    return tuple(getattr(definition.source, ATTRIBUTE, ()))


def declared(definitions: Iterable[TaskDefinition]) -> dict[str, Metric]:
    """Return the custom metrics by exported name; if two with one name differ, the first one counts."""
    metrics: dict[str, Metric] = {}
    for measure in chain.from_iterable(map(measures_of, definitions)):
        metrics.setdefault(measure.exported_name, measure.metric())
    return metrics


def problems(definitions: Iterable[TaskDefinition]) -> Iterator[Problem]:
    """Yield a problem for each measure that another class declares differently."""
    first: dict[str, tuple[str, Metric]] = {}
    for definition in definitions:
        for measure in measures_of(definition):
            metric = measure.metric()
            owner, known = first.setdefault(metric.name, (definition.name, metric))
            if known != metric:
                yield Problem(
                    UNEQUAL_MEASURES,
                    f"{definition.name}.{ATTRIBUTE}[{measure.name!r}]",
                    measure,
                    f"the type, help, labels and buckets that {owner} declares",
                    processor_class=cast(type, definition.source),
                )
