"""PromQL as the panels use it: what a query asks, and the selectors that every query shares."""

from dataclasses import dataclass
from typing import Final

_INSTANCE: Final = 'job=~"$job",instance=~"$instance"'
_QUEUE: Final = f'{_INSTANCE},queue=~"$queue"'
_PROCESSOR: Final = f'{_QUEUE},processor=~"$processor"'


@dataclass(frozen=True)
class Query:
    """One query of a panel.

    In ``expr``, ``@instance``, ``@queue`` and ``@processor`` stand for the selectors of the
    dashboard's variables. ``table`` asks for a row per series instead of a line, ``heatmap`` for
    buckets, ``exemplar`` for the traces behind the samples.
    """

    expr: str
    legend: str = ""
    table: bool = False
    heatmap: bool = False
    exemplar: bool = False

    @property
    def promql(self) -> str:
        """The query with its selectors filled in, on one line."""
        expr = " ".join(self.expr.split())
        for name, selector in (("@instance", _INSTANCE), ("@queue", _QUEUE), ("@processor", _PROCESSOR)):
            expr = expr.replace(name, selector)
        return expr


def quantiles(histogram: str, selector: str = "@queue") -> tuple[Query, ...]:
    """Ask for the p50, p95 and p99 of a histogram, with exemplars on the highest line."""
    return tuple(
        Query(
            f"histogram_quantile({share}, sum by (le)"
            f" (rate({histogram}_bucket{{{selector}}}[$__rate_interval])))",
            name,
            exemplar=name == "p99",
        )
        for share, name in ((0.5, "p50"), (0.95, "p95"), (0.99, "p99"))
    )


def p95_by(label: str, histogram: str, selector: str = "@queue") -> Query:
    """Ask for the p95 of a histogram for each value of a label, with exemplars."""
    return Query(
        f"histogram_quantile(0.95, sum by (le, {label})"
        f" (rate({histogram}_bucket{{{selector}}}[$__rate_interval])))",
        f"{{{{{label}}}}}",
        exemplar=True,
    )


def per_second(counter: str, by: str, selector: str = "@queue") -> str:
    """Return the rate of a counter, summed by labels."""
    return f"sum by ({by}) (rate({counter}{{{selector}}}[$__rate_interval]))"


def in_interval(counter: str, by: str, selector: str = "@queue") -> str:
    """Return how much a counter grew between two points of the graph, summed by labels."""
    return f"sum by ({by}) (increase({counter}{{{selector}}}[$__rate_interval]))"
