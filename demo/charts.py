"""Charts as plain numbers: how long each bar is, and where each point goes. The template draws them."""

from collections.abc import Sequence
from dataclasses import dataclass

AREA_TOP, AREA_BOTTOM = 20, 180
AREA_LEFT, AREA_RIGHT = 46, 950


@dataclass(frozen=True)
class Bar:
    """One bar of a horizontal bar chart; its length in percent of the greatest."""

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
    """A filled curve over seconds."""

    line: str
    fill: str
    heights: list[Mark]
    seconds: list[Mark]


def bars(values: Sequence[tuple[str, str, int]]) -> list[Bar]:
    """Make one bar of each label, title and value."""
    most = max((value for _, _, value in values), default=0) or 1
    return [Bar(label, title, value, round(100 * value / most, 1)) for label, title, value in values]


def area(values: Sequence[int]) -> Area:
    """Place a curve through one value for each second."""
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
    """Return the next number that is good to read on an axis."""
    magnitude = 1
    while True:
        for factor in (1, 2, 5):
            if factor * magnitude >= value:
                return factor * magnitude
        magnitude *= 10
