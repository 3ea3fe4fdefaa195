"""What a metric is: a name, a type, labels, and where its figures come from."""

from dataclasses import dataclass
from typing import Final, TypeAlias

COUNTER: Final = "counter"
GAUGE: Final = "gauge"
HISTOGRAM: Final = "histogram"
INFO: Final = "info"

OTHER: Final = "_other"
"""The label value that stands for what has too many values, or no known one."""

Labels: TypeAlias = tuple[str, ...]
Key: TypeAlias = tuple[str, Labels]
"""A series: the name of its metric, and the values of its labels in the metric's order."""

# These have as many values as code and users give them; all other labels have a fixed list.
OPEN_LABELS: Final = frozenset({"processor", "error_type"})
LABEL_MAX_LENGTH: Final = 200


@dataclass(frozen=True)
class Metric:
    """One metric: ``sources`` are W (worker), M (manager), D (database) or app (application)."""

    name: str
    kind: str
    labels: Labels
    sources: Labels
    question: str
    help: str
    buckets: tuple[float, ...] = ()
    """Upper bounds of a histogram, +Inf left out; the settings may replace those of durations and waits."""
    open_labels: frozenset[str] = OPEN_LABELS

    @property
    def family(self) -> str:
        """Return the name without the suffix that the exposition adds by type."""
        return self.name.removesuffix("_total").removesuffix("_info")

    def fold(self, values: Labels) -> tuple[Labels, Labels]:
        """Return ``values`` with the open labels' replaced by ``_other``, and the labels that changed."""
        pairs = list(zip(self.labels, values, strict=True))
        folded = tuple(OTHER if label in self.open_labels else value for label, value in pairs)
        changed = tuple(label for label, value in pairs if label in self.open_labels and value != OTHER)
        return folded, changed


def clean(value: str) -> str:
    """Return a label value that can be exported: valid Unicode, not too long."""
    return value.encode("utf-8", "replace").decode("utf-8")[:LABEL_MAX_LENGTH]
