"""PromQL expressions of the panels, and the selectors that every query shares."""

from dataclasses import dataclass
from typing import Final

_INSTANCE: Final = 'job=~"$job",instance=~"$instance"'
_QUEUE: Final = f'{_INSTANCE},queue=~"$queue"'
_PROCESSOR: Final = f'{_QUEUE},processor=~"$processor"'


@dataclass(frozen=True)
class Query:
    """One query of a panel.

    In ``expr``, ``@instance``, ``@queue`` and ``@processor`` are placeholders for the selectors of the
    dashboard's variables. ``table`` returns a table row per series instead of a line, ``heatmap`` returns
    buckets, ``exemplar`` adds exemplars, which link to traces.
    """

    expr: str
    legend: str = ""
    table: bool = False
    heatmap: bool = False
    exemplar: bool = False

    @property
    def promql(self) -> str:
        """The expression on one line, with the selectors filled in."""
        expr = " ".join(self.expr.split())
        for name, selector in (("@instance", _INSTANCE), ("@queue", _QUEUE), ("@processor", _PROCESSOR)):
            expr = expr.replace(name, selector)
        return expr


def quantile(share: float, histogram: str, by: str = "", selector: str = "@queue") -> str:
    """Return a quantile of a histogram by a label, without the NaN of intervals that have no observations."""
    labels = f"le, {by}" if by else "le"
    return (
        f"histogram_quantile({share}, sum by ({labels})"
        f" (rate({histogram}_bucket{{{selector}}}[$__rate_interval]))) >= 0"
    )


def quantiles(histogram: str, selector: str = "@queue") -> tuple[Query, ...]:
    """Return queries for the p50, p95 and p99 of a histogram."""
    return tuple(
        Query(quantile(share, histogram, selector=selector), name)
        for share, name in ((0.5, "p50"), (0.95, "p95"), (0.99, "p99"))
    )


def per_second(counter: str, by: str, selector: str = "@queue") -> str:
    """Return the rate per second of a counter, summed by labels."""
    return f"sum by ({by}) (rate({counter}{{{selector}}}[$__rate_interval]))"


def in_interval(counter: str, by: str, selector: str = "@queue") -> str:
    """Return the increase of a counter over the rate interval, summed by labels."""
    return f"sum by ({by}) (increase({counter}{{{selector}}}[$__rate_interval]))"


def highest(gauge: str, by: str, selector: str = "@queue") -> str:
    """Return the maximum of a gauge by labels, for the ten series that were highest in the time range."""
    now, over_range = f"{gauge}{{{selector}}}", f"max_over_time({gauge}{{{selector}}}[$__range] @ end())"
    return top_ten(f"max by ({by}) ({now})", ranked_by=f"max by ({by}) ({over_range})")


def top_ten(expr: str, ranked_by: str = "") -> str:
    """Return the ten series that are highest over the whole time range, the same ten at every point.

    ``ranked_by`` is the expression that ranks them; by default, ``expr`` computed over the whole range.
    """
    rank = ranked_by or expr.replace("[$__rate_interval]", "[$__range] @ end()")
    return f"{expr} and topk(10, {rank})"
