"""Draw a bar chart for each scenario as SVG: the median of each subject, with a line from minimum to maximum.

The charts have only bars, numbers and names. They adapt to light and dark pages without scripts, which no
chart library supports.
"""

from collections.abc import Sequence
from pathlib import Path
from typing import Final
from xml.etree.ElementTree import Element, SubElement, tostring

from bench.cells import cell
from bench.grouping import OURS, Group, groups, values_of
from bench.measurement import Measurement

WIDTH: Final = 850
NAMES_WIDTH: Final = 230
NUMBERS_WIDTH: Final = 220
BARS_WIDTH: Final = WIDTH - NAMES_WIDTH - NUMBERS_WIDTH
HEADING_HEIGHT: Final = 40
ROW_HEIGHT: Final = 30
BAR_HEIGHT: Final = 18
PRODUCTS: Final = {
    "partisan2": "django-partisan",
    "celery_redis": "Celery with Redis",
    "graphile_worker": "graphile-worker",
    "river": "River",
}
STYLE: Final = """
text { font: 13px system-ui, sans-serif; fill: #1f2328 } .title { font-weight: 600; font-size: 15px }
.bar { fill: #a8b1bb } .ours { fill: #1a7f5a } .spread { stroke: #1f2328; stroke-width: 1.5 }
@media (prefers-color-scheme: dark) {
  text { fill: #e6edf3 } .bar { fill: #59636e } .ours { fill: #2ea77a } .spread { stroke: #e6edf3 }
}
"""


def write(measurements: Sequence[Measurement], folder: Path) -> list[Path]:
    """Write a chart per scenario and size into a folder; return the files."""
    folder.mkdir(parents=True, exist_ok=True)
    written = []
    for group in groups(measurements):
        if group.scenario != "limit" and group.ranked(group.shape.columns[0]):
            file = folder / f"{_name(group)}.svg"
            file.write_bytes(tostring(_chart(group)) + b"\n")
            written.append(file)
    return written


def _name(group: Group) -> str:
    conditions = group.conditions.replace(" ", "-").replace(",", "")
    return "-".join(filter(None, [group.scenario, str(group.tasks) if group.tasks else "", conditions]))


def _chart(group: Group) -> Element:
    lead = group.shape.columns[0]
    medians = group.ranked(lead)
    spans = {name: values_of(group.by_subject[name], lead.key) for name in medians}
    scale = BARS_WIDTH / (max(max(values) for values in spans.values()) or 1)
    height = HEADING_HEIGHT + ROW_HEIGHT * len(medians)
    chart = Element(
        "svg",
        xmlns="http://www.w3.org/2000/svg",
        viewBox=f"0 0 {WIDTH} {height}",
        width=str(WIDTH),
        role="img",
    )
    SubElement(chart, "style").text = STYLE
    title = f"{group.title}: {lead.heading}"
    _text(chart, 4, 22, title, **{"class": "title"})
    for row, (name, median) in enumerate(medians.items()):
        middle = HEADING_HEIGHT + ROW_HEIGHT * row + ROW_HEIGHT / 2
        _bar(chart, middle, name, median * scale, [value * scale for value in spans[name]])
        _text(chart, WIDTH - NUMBERS_WIDTH + 10, middle + 4, cell(spans[name], spread=True))
    return chart


def _bar(chart: Element, middle: float, name: str, width: float, values: Sequence[float]) -> None:
    _text(chart, NAMES_WIDTH - 10, middle + 4, _label(name), **{"text-anchor": "end"})
    kind = "bar ours" if name.startswith(OURS) else "bar"
    place = {"x": str(NAMES_WIDTH), "y": _place(middle - BAR_HEIGHT / 2), "height": str(BAR_HEIGHT)}
    SubElement(chart, "rect", {**place, "width": _place(width), "class": kind})
    if len(values) > 1:
        ends = {"x1": _place(NAMES_WIDTH + min(values)), "x2": _place(NAMES_WIDTH + max(values))}
        SubElement(chart, "line", {**ends, "y1": _place(middle), "y2": _place(middle), "class": "spread"})


def _label(name: str) -> str:
    """Return the name of a subject for readers who do not know the harness."""
    product, _, variant = name.partition(":")
    return f"{PRODUCTS.get(product, product)}, {variant}"


def _text(chart: Element, x: float, y: float, text: str, **attributes: str) -> None:
    SubElement(chart, "text", {"x": _place(x), "y": _place(y), **attributes}).text = text


def _place(value: float) -> str:
    return f"{value:.1f}"
