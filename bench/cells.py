"""Format numbers for tables and charts."""

import statistics
from collections.abc import Sequence


def cell(values: Sequence[float], spread: bool) -> str:
    """Return the median, followed by minimum and maximum if ``spread``; a dash if there are no values."""
    if not values:
        return "-"
    text = number(statistics.median(values))
    return f"{text} ({span(values)})" if spread and len(values) > 1 else text


def span(values: Sequence[float]) -> str:
    """Return the minimum and maximum, or one number if both look the same."""
    low, high = number(min(values)), number(max(values))
    return low if low == high else f"{low} to {high}"


def number(value: float) -> str:
    """Return a number with a useful number of digits, and a count as an integer."""
    if abs(value) >= 100 or value == round(value):
        return f"{value:,.0f}"
    return f"{value:.1f}" if abs(value) >= 10 else f"{value:.2f}"
