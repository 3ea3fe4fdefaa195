"""The declaration of a metric: its name, type and labels, and the source of its values."""

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from itertools import product
from typing import Final, TypeAlias

COUNTER: Final = "counter"
GAUGE: Final = "gauge"
HISTOGRAM: Final = "histogram"
INFO: Final = "info"

OTHER: Final = "_other"
"""The label value that replaces unknown values, and new values of a label that has too many."""

Labels: TypeAlias = tuple[str, ...]
Key: TypeAlias = tuple[str, Labels]
"""A series: the name of its metric, and the values of its labels in the metric's order."""

# The values of these depend on the project's code; all other labels have a fixed list.
OPEN_LABELS: Final = frozenset({"processor", "error_type"})
LABEL_MAX_LENGTH: Final = 200


@dataclass(frozen=True)
class Metric:
    """A metric; its ``sources`` are W (worker), M (manager), D (database) or app (application)."""

    name: str
    kind: str
    labels: Labels
    sources: Labels
    question: str
    help: str
    buckets: tuple[float, ...] = ()
    """Upper bounds of a histogram without +Inf; settings can replace those of durations and waits."""
    values: Mapping[str, Labels] = field(default_factory=dict)
    """The values of each label that has a fixed list, except ``queue``."""
    open_labels: frozenset[str] = OPEN_LABELS

    @property
    def family(self) -> str:
        """The name without the suffix that the exposition format adds by type."""
        return self.name.removesuffix("_total").removesuffix("_info")

    def initial_series(self, queue: str, processors: Iterable[str]) -> Iterator[Key]:
        """Yield the series to export as 0 before the first event; none if a label's values are unknown."""
        known = {**self.values, "queue": (queue,), "processor": tuple(processors)}
        if self.kind in (COUNTER, HISTOGRAM) and "D" not in self.sources and known.keys() >= set(self.labels):
            for values in product(*(known[label] for label in self.labels)):
                yield self.name, values


def clean(value: str) -> str:
    """Return a label value that can be exported: valid Unicode of limited length."""
    return value.encode("utf-8", "replace").decode("utf-8")[:LABEL_MAX_LENGTH]
