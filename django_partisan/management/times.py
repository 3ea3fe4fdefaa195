"""Parse the durations and moments given to commands; each function is a ``type`` for ``argparse``."""

import argparse
import re
from datetime import datetime
from typing import Final

from django.conf import settings
from django.utils.dateparse import parse_datetime
from django.utils.timezone import is_aware, make_aware, make_naive

from django_partisan.moments import LONGEST_DELAY_SECONDS, storable

DURATION: Final = "a number of seconds, or a number followed by s, m, h or d, such as 8s, 5m, 2h, 7d"
MOMENT: Final = (
    "ISO 8601, such as 2026-11-29T18:00 or 2026-11-29T18:00:00+01:00; without an offset, in local time"
)

_DURATION: Final = re.compile(r"(\d+(?:\.\d+)?)([smhd]?)", re.ASCII)
_UNITS: Final = {"": 1, "s": 1, "m": 60, "h": 3600, "d": 86_400}
_DATE: Final = re.compile(r"\d{4}-\d{2}-\d{2}", re.ASCII)


def duration(text: str) -> float:
    """Parse a duration; return it in seconds."""
    match = _DURATION.fullmatch(text.strip())
    if match is None:
        raise argparse.ArgumentTypeError(f"{text!r} is not a duration; expected {DURATION}.")
    seconds = float(match[1]) * _UNITS[match[2]]
    if seconds > LONGEST_DELAY_SECONDS:
        raise argparse.ArgumentTypeError(f"{text!r} is too long; expected at most a hundred years.")
    return seconds


def moment(text: str) -> datetime:
    """Parse a moment; return it aware if ``USE_TZ`` is ``True``. A date alone means its midnight."""
    stripped = text.strip()
    try:
        found = parse_datetime(f"{stripped}T00:00" if _DATE.fullmatch(stripped) else stripped)
        if found is None:
            raise ValueError
        limited = storable(found if is_aware(found) else make_aware(found))
    except (ValueError, OverflowError) as error:
        raise argparse.ArgumentTypeError(f"{text!r} is not a moment; expected {MOMENT}.") from error
    return limited if settings.USE_TZ else make_naive(limited)
