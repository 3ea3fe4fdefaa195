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


def quantile(share: float, histogram: str, by: str = "", selector: str = "@queue") -> str:
    """Return a quantile of a histogram by a label: nothing where nothing was observed, which would be NaN."""
    labels = f"le, {by}" if by else "le"
    return (
        f"histogram_quantile({share}, sum by ({labels})"
        f" (rate({histogram}_bucket{{{selector}}}[$__rate_interval]))) >= 0"
    )


def quantiles(histogram: str, selector: str = "@queue") -> tuple[Query, ...]:
    """Ask for the p50, p95 and p99 of a histogram."""
    return tuple(
        Query(quantile(share, histogram, selector=selector), name)
        for share, name in ((0.5, "p50"), (0.95, "p95"), (0.99, "p99"))
    )


def per_second(counter: str, by: str, selector: str = "@queue") -> str:
    """Return the rate of a counter, summed by labels."""
    return f"sum by ({by}) (rate({counter}{{{selector}}}[$__rate_interval]))"


def in_interval(counter: str, by: str, selector: str = "@queue") -> str:
    """Return how much a counter grew between two points of the graph, summed by labels."""
    return f"sum by ({by}) (increase({counter}{{{selector}}}[$__rate_interval]))"


def highest(gauge: str, by: str, selector: str = "@queue") -> str:
    """Return the maximum of a gauge by labels, of the ten series that were highest in the time range."""
    now, over_range = f"{gauge}{{{selector}}}", f"max_over_time({gauge}{{{selector}}}[$__range] @ end())"
    return top_ten(f"max by ({by}) ({now})", ranked_by=f"max by ({by}) ({over_range})")


def top_ten(expr: str, ranked_by: str = "") -> str:
    """Return the ten series that count most over the whole time range, the same ten at every point.

    Without ``ranked_by``, the rates and quantiles of ``expr`` are compared as they are over the range.
    """
    rank = ranked_by or expr.replace("[$__rate_interval]", "[$__range] @ end()")
    return f"{expr} and topk(10, {rank})"
