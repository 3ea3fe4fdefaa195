"""Charts as plain numbers: where each bar and each point goes. The template draws them."""

from collections.abc import Sequence
from dataclasses import dataclass

WIDTH = 960
BAR_LEFT, BAR_RIGHT = 170, 860
ROW_HEIGHT = 30

AREA_TOP, AREA_BOTTOM = 20, 180
AREA_LEFT, AREA_RIGHT = 46, 950


@dataclass(frozen=True)
class Bar:
    """One bar of a horizontal bar chart, in the units of the drawing."""

    label: str
    title: str
    value: int
    y: float
    width: float

    @property
    def middle(self) -> float:
        """Return the height of the text beside the bar."""
        return self.y + 14

    @property
    def end(self) -> float:
        """Return where the number after the bar begins."""
        return BAR_LEFT + self.width + 8


@dataclass(frozen=True)
class Bars:
    """A horizontal bar chart."""

    height: int
    bars: list[Bar]


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


def bars(values: Sequence[tuple[str, str, int]]) -> Bars:
    """Place one bar for each label, title and value; the greatest takes the whole width."""
    most = max((value for _, _, value in values), default=0) or 1
    drawn = [
        Bar(label, title, value, row * ROW_HEIGHT, max(2, (BAR_RIGHT - BAR_LEFT) * value / most))
        for row, (label, title, value) in enumerate(values)
    ]
    return Bars(height=ROW_HEIGHT * len(drawn), bars=drawn)


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
