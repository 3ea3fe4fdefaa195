"""Numbers as tables and charts show them."""

import statistics
from collections.abc import Sequence


def cell(values: Sequence[float], spread: bool) -> str:
    """Return the median, with the minimum and maximum behind it if ``spread``; a dash if there are none."""
    if not values:
        return "-"
    text = number(statistics.median(values))
    return f"{text} ({span(values)})" if spread and len(values) > 1 else text


def span(values: Sequence[float]) -> str:
    """Return the minimum and the maximum, or the one number that both are shown as."""
    low, high = number(min(values)), number(max(values))
    return low if low == high else f"{low} to {high}"


def number(value: float) -> str:
    """Return a number with as many digits as a reader compares, and a count as a whole number."""
    if abs(value) >= 100 or value == round(value):
        return f"{value:,.0f}"
    return f"{value:.1f}" if abs(value) >= 10 else f"{value:.2f}"
