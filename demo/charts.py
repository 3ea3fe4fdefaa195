"""Compute lengths of bars and positions of points for charts, which the template draws."""

from collections.abc import Sequence
from dataclasses import dataclass

AREA_TOP, AREA_BOTTOM = 20, 180
AREA_LEFT, AREA_RIGHT = 46, 950


@dataclass(frozen=True)
class Bar:
    """A bar of a horizontal bar chart; its length is a percentage of the longest."""

    label: str
    title: str
    value: int
    percent: float


@dataclass(frozen=True)
class Mark:
    """A number on an axis."""

    value: int
    at: float


@dataclass(frozen=True)
class Area:
    """A filled curve over time in seconds."""

    line: str
    fill: str
    heights: list[Mark]
    seconds: list[Mark]


def bars(values: Sequence[tuple[str, str, int]]) -> list[Bar]:
    """Return a bar for each label, title and value."""
    most = max((value for _, _, value in values), default=0) or 1
    return [Bar(label, title, value, round(100 * value / most, 1)) for label, title, value in values]


def area(values: Sequence[int]) -> Area:
    """Return a curve through one value per second."""
    values = values or [0]
    top = _round_up(max(values) or 1)
    last = max(1, len(values) - 1)

    def x(second: float) -> float:
        return round(AREA_LEFT + (AREA_RIGHT - AREA_LEFT) * second / last, 1)

    def y(value: float) -> float:
        return round(AREA_BOTTOM - (AREA_BOTTOM - AREA_TOP) * value / top, 1)

    line = " ".join(f"{x(second)},{y(value)}" for second, value in enumerate(values))
    step = _round_up(max(1, last // 8))
    return Area(
        line=line,
        fill=f"{x(0)},{AREA_BOTTOM} {line} {x(len(values) - 1)},{AREA_BOTTOM}",
        heights=[Mark(value, y(value)) for value in (top // 2, top)],
        seconds=[Mark(second, x(second)) for second in range(0, last + 1, step)],
    )


def _round_up(value: int) -> int:
    """Round up to a number that is easy to read on an axis."""
    magnitude = 1
    while True:
        for factor in (1, 2, 5):
            if factor * magnitude >= value:
                return factor * magnitude
        magnitude *= 10
