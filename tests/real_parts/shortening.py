"""The alert rules with seconds in place of minutes, so that a test sees them fire and resolve."""

import re
from typing import Final

SHORTEST_WINDOW_MS: Final = 12_500
"""Keeps the order of windows: five minutes become 15 s, fifteen become 20 s."""
LONG_WINDOW: Final = "60s"
OFFSET: Final = "15s"
SHORTEST_PAUSE_MS: Final = 4_000
"""Four scrapes, so that one missed scrape raises no alert, as with the minutes that it stands for."""
MS_PER_MINUTE: Final = 500

# Limits that would take too long to reach in a test: alert, limit, limit in the test.
LIMITS: Final = (
    ("PartisanWorkersSaturated", "> 60", "> 2"),
    ("PartisanTaskRunningTooLong", ", 300)", ", 5)"),
    ("PartisanOldTransaction", "> 1800", "> 5"),
)


def shortened(text: str) -> str:
    """Return the text of a rule file with shortened windows, pauses and limits."""
    text = re.sub(r"\[(\d+)m\]", _short_window, text)
    text = re.sub(r"\[\d+[hd]\]", f"[{LONG_WINDOW}]", text)
    text = re.sub(r"offset \d+[mhd]", f"offset {OFFSET}", text)
    text = re.sub(r"for: (\d+)m", _short_pause, text)
    text = re.sub(r"interval: \d+m", "interval: 1s", text)
    for alert, limit, short in LIMITS:
        before, found, after = text.partition(f"- alert: {alert}\n")
        text = before + found + (after.replace(limit, short, 1) if found else after)
    return text


def _short_window(minutes: "re.Match[str]") -> str:
    return f"[{SHORTEST_WINDOW_MS + MS_PER_MINUTE * int(minutes[1])}ms]"


def _short_pause(minutes: "re.Match[str]") -> str:
    return f"for: {SHORTEST_PAUSE_MS + MS_PER_MINUTE * int(minutes[1])}ms"
