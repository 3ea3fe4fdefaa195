"""The charts show the same medians as the tables."""

from xml.etree import ElementTree

from bench.charts import BARS_WIDTH, write
from bench.measurement import Measurement
from bench.report import tables


def measured(subject, scenario="drain", error=None, **figures):
    return Measurement(scenario, subject, 1000, 0, at=0.0, load=0.5, figures=figures, error=error)


def texts(file):
    return {element.text for element in ElementTree.parse(file).iter()}


def test_a_chart_shows_the_median_of_each_subject(tmp_path):
    rates = [measured("partisan2:tuned", rate=rate) for rate in (100.0, 300.0, 250.0)]

    (file,) = write([*rates, measured("celery_redis:solo", rate=150.0)], tmp_path)

    assert file.name == "drain-1000.svg"
    assert {"django-partisan, tuned", "250 (100 to 300)", "Celery with Redis, solo", "150"} <= texts(file)


def test_a_chart_and_a_table_show_a_figure_alike(tmp_path):
    waits = [measured("partisan2:tuned", "latency", p50=wait) for wait in (0.5, 0.75, 12.34)]

    (file,) = write(waits, tmp_path)

    assert "0.75 (0.50 to 12.3)" in texts(file)
    assert "| 0.75 (0.50 to 12.3) |" in tables(waits)


def test_what_failed_and_the_limit_have_no_chart(tmp_path):
    limit = measured("update+delete n=10 clients=2", "limit", rate=1.0)

    assert write([limit, measured("partisan2:tuned", "idle", error="no task ran")], tmp_path / "new") == []


def test_bars_are_as_long_as_their_figures(tmp_path):
    (file,) = write(
        [measured("partisan2:tuned", rate=100.0), measured("celery_redis:solo", rate=50.0)], tmp_path
    )

    bars = [bar for bar in ElementTree.parse(file).iter() if bar.get("class") in ("bar", "bar ours")]
    assert [float(bar.attrib["width"]) for bar in bars] == [BARS_WIDTH, BARS_WIDTH / 2]
