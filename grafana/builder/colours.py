"""The colors of figures, by value, and of series; green means good, red means bad."""

from collections.abc import Iterable, Sequence
from itertools import cycle
from typing import Final, TypeAlias

from grafana_foundation_sdk.builders import dashboard as build
from grafana_foundation_sdk.models import dashboard as model

from django_partisan import outcomes

GREEN, BLUE, YELLOW, ORANGE, RED, PURPLE = "green", "blue", "yellow", "orange", "red", "purple"
GREY = "#8e8e8e"
NEUTRAL: Final = "text"
"""The color of a figure that counts errors, below its limit. Such figures are never green."""

OUTCOMES: Final = {
    outcomes.COMPLETED: GREEN,
    outcomes.POSTPONED: BLUE,
    outcomes.RETRIED: ORANGE,
    outcomes.FAILED: RED,
}

EXITS: Final = {
    "recycled": PURPLE,
    "stopped": GREY,
    "cancelled": BLUE,
    "timeout": YELLOW,
    "error": ORANGE,
    "signal": RED,
}
_WARM: Final = (RED, ORANGE, PURPLE, YELLOW, "dark-red", "light-orange", BLUE, "light-red", "dark-purple")
# The first letter of an exception's class decides its color, so that it is the same on all graphs.
_LETTERS: Final = ("V-Z", "C", "T-U", "I-J", "A-B", "D-H", "R-S", "K-N", "O-Q")
BY_LAST_WORD: Final = {
    rf"/(^|[ .])[{letters}]\w*$/i": colour for letters, colour in zip(_LETTERS, _WARM, strict=True)
}
"""Colors of exceptions and processors, whose names differ by project: patterns of a legend's last word."""

INTERRUPTIONS: Final = {
    "rescued (manager_lost)": RED,
    "rescued (worker_lost)": ORANGE,
    "rescued (stopped)": YELLOW,
    "released (stopped)": GREY,
    "released (shared)": BLUE,
    "released (paused)": PURPLE,
    "claim lost": RED,
}

Steps: TypeAlias = Sequence[tuple[float | None, str]]
"""Pairs of a value and the color from that value up; the first value is ``None``, for the lowest."""

OK_ALWAYS: Final[Steps] = [(None, GREEN)]


def warm(names: Iterable[str]) -> dict[str, str]:
    """Return a color for each name of an error. None of them is green."""
    return dict(zip(names, cycle(_WARM), strict=False))


def low_is_good(warning: float, critical: float | None = None) -> Steps:
    """Return the colors of a figure that is good while it is low."""
    steps: list[tuple[float | None, str]] = [(None, GREEN), (warning, ORANGE if critical else RED)]
    return [*steps, (critical, RED)] if critical else steps


def errors(limit: float, colour: str = RED) -> Steps:
    """Return the colors of a figure that counts errors: neutral below the limit, never green."""
    return [(None, NEUTRAL), (limit, colour)]


def by_palette() -> build.FieldColor:
    """Give each series the next color of the palette, which begins with green."""
    return build.FieldColor().mode(model.FieldColorModeId.PALETTE_CLASSIC)


def in_shades(colour: str) -> build.FieldColor:
    """Give each series a shade of one color."""
    return build.FieldColor().mode(model.FieldColorModeId.SHADES).fixed_color(colour)


def thresholds(steps: Steps) -> build.ThresholdsConfig:
    """Return the steps in the form that Grafana expects."""
    found = [model.Threshold(value=value, color=colour) for value, colour in steps]
    return build.ThresholdsConfig().mode(model.ThresholdsMode.ABSOLUTE).steps(found)
