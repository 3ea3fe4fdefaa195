"""The report is a single page for phones: it has the width of the screen, and no element is wider."""

import re
from datetime import datetime, timezone

from django.template import Context, Engine

from demo import charts
from tests.support.commands import ROOT

ENGINE = Engine(
    dirs=[str(ROOT / "demo" / "templates")],
    libraries={
        "humanize": "django.contrib.humanize.templatetags.humanize",
        "l10n": "django.templatetags.l10n",
    },
)


def rendered() -> str:
    numbers = {"files": 3, "lines": 1226, "functions": 96, "classes": 12}
    rows = [{"name": name, "summary": "Do it.", **numbers} for name in ("multiprocessing", "bz2")]
    context = {
        "python": "3.11",
        "written_at": datetime(2026, 1, 2, tzinfo=timezone.utc),
        "totals": {"files": 4, "lines": 1227, "functions": 96, "classes": 12},
        "packages": rows,
        "bars": charts.bars([("multiprocessing", "Do it.", 1226)]),
        "pace": charts.area([3, 5, 1]),
        "failures": [("broken.py", "invalid syntax")],
    }
    return ENGINE.get_template("demo/report.html").render(Context(context))


def test_the_page_has_the_width_of_the_screen_and_nothing_scrolls_sideways():
    page = rendered()

    assert '<meta name="viewport" content="width=device-width, initial-scale=1">' in page
    assert "@media (max-width: 640px)" in page
    assert "overflow-x" not in page
    assert not re.search(r"(?<!-)\bwidth: *[\d.]+(px|em|rem)", page), "widths follow the screen"


def test_bars_are_in_proportion_to_the_greatest_and_named():
    bars = charts.bars([("a", "", 200), ("b", "", 50), ("c", "", 0)])

    assert [(bar.label, bar.percent) for bar in bars] == [("a", 100.0), ("b", 25.0), ("c", 0.0)]
    assert charts.bars([]) == []
    assert 'style="width: 100.0%"' in rendered()
