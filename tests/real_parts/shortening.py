"""The alert rules with seconds for minutes, so that a test sees them fire and resolve."""

import re
from typing import Final

WINDOW: Final = "15s"
LONG_WINDOW: Final = "60s"
PAUSE: Final = "5s"
"""Five scrapes: as with the minutes that it stands for, one that is missed is no alarm."""

# What an alert waits for, where waiting that long would be the test: alert, limit, limit in the test.
LIMITS: Final = (("PartisanWorkersSaturated", "> 60", "> 2"),)


def shortened(text: str) -> str:
    """Return the text of a rule file with short windows, pauses and limits."""
    text = re.sub(r"\[\d+m\]", f"[{WINDOW}]", text)
    text = re.sub(r"\[\d+[hd]\]", f"[{LONG_WINDOW}]", text)
    text = re.sub(r"offset \d+[mhd]", f"offset {WINDOW}", text)
    text = re.sub(r"for: \d+m", f"for: {PAUSE}", text)
    text = re.sub(r"interval: \d+m", "interval: 1s", text)
    for alert, limit, short in LIMITS:
        before, found, after = text.partition(f"- alert: {alert}\n")
        text = before + found + (after.replace(limit, short, 1) if found else after)
    return text
