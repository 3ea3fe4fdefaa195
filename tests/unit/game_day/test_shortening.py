"""Shortened rules keep their order in time."""

import re

from tests.real_parts.shortening import LIMITS, shortened
from tests.unit.grafana import files


def test_minutes_become_seconds():
    rule = "expr: increase(a[5m]) > 0 and b offset 1h and c[6h]\nfor: 2m\ninterval: 5m"

    assert shortened(rule) == (
        "expr: increase(a[15000ms]) > 0 and b offset 15s and c[60s]\nfor: 5000ms\ninterval: 1s"
    )


def test_what_waits_for_longer_still_does():
    for text in ("for: {}m", "[{}m]"):
        short = [shortened(text.format(minutes)) for minutes in (1, 2, 5, 10, 15)]
        seconds = [int(re.findall(r"\d+", one)[0]) for one in short]

        assert seconds == sorted(set(seconds))


def test_limits_are_lowered_in_their_alert_only():
    text = (files.ROOT / "grafana" / "alerts" / "alerts.yaml").read_text()

    short = shortened(text)

    for alert, limit, lower in LIMITS:
        _, _, before = text.partition(f"- alert: {alert}\n")
        _, _, after = short.partition(f"- alert: {alert}\n")
        assert limit in before.partition("- alert:")[0]
        assert limit not in after.partition("- alert:")[0]
        assert lower in after.partition("- alert:")[0]
