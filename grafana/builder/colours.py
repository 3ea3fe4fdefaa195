"""What a colour says: good, bad or neither, and from which value on; how series get theirs."""

from collections.abc import Iterable, Sequence
from itertools import cycle
from typing import Final, TypeAlias

from grafana_foundation_sdk.builders import dashboard as build
from grafana_foundation_sdk.models import dashboard as model

from django_partisan import outcomes

GREEN, BLUE, YELLOW, ORANGE, RED, PURPLE = "green", "blue", "yellow", "orange", "red", "purple"
GREY = "#8e8e8e"
NEUTRAL: Final = "text"
"""The colour of a figure of errors below its limit: an error is never green."""

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
# An exception gets its colour by the first letter of its class, the same on all graphs.
_LETTERS: Final = ("V-Z", "C", "T-U", "I-J", "A-B", "D-H", "R-S", "K-N", "O-Q")
BY_LAST_WORD: Final = {
    rf"/(^|[ .])[{letters}]\w*$/i": colour for letters, colour in zip(_LETTERS, _WARM, strict=True)
}
"""Colours of errors and kinds whose names only the project knows: patterns of the last word of a legend."""

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
"""Colours from a value on; the first value is ``None``, for "from the lowest on"."""

OK_ALWAYS: Final[Steps] = [(None, GREEN)]


def warm(names: Iterable[str]) -> dict[str, str]:
    """Return a colour for each of the names of errors, none of them green."""
    return dict(zip(names, cycle(_WARM), strict=False))


def low_is_good(warning: float, critical: float | None = None) -> Steps:
    """Return the colours of a figure that is good while it is low."""
    steps: list[tuple[float | None, str]] = [(None, GREEN), (warning, ORANGE if critical else RED)]
    return [*steps, (critical, RED)] if critical else steps


def errors(limit: float, colour: str = RED) -> Steps:
    """Return the colours of a figure of errors: nothing is good about it, also below the limit."""
    return [(None, NEUTRAL), (limit, colour)]


def by_palette() -> build.FieldColor:
    """Give each series the next colour of the palette, green first."""
    return build.FieldColor().mode(model.FieldColorModeId.PALETTE_CLASSIC)


def in_shades(colour: str) -> build.FieldColor:
    """Give each series a shade of one colour."""
    return build.FieldColor().mode(model.FieldColorModeId.SHADES).fixed_color(colour)


def thresholds(steps: Steps) -> build.ThresholdsConfig:
    """Return the steps as Grafana has them."""
    found = [model.Threshold(value=value, color=colour) for value, colour in steps]
    return build.ThresholdsConfig().mode(model.ThresholdsMode.ABSOLUTE).steps(found)
