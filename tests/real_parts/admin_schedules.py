"""Schedules of every kind, for the admin pages that a real Chromium opens."""

from datetime import datetime, timedelta
from typing import Any

from django.utils import timezone

from django_partisan.models import Schedule
from tests.support.schedules import add_schedule

FAILED = "Exception of a trigger on django_partisan_task: the shop 4711 does not exist any more"
OUTCOMES = (
    ("enqueued", "completed"), ("enqueued", "completed"), ("missed", None), ("duplicate", "completed"),
    ("overlap", None), ("enqueued", "failed"), ("enqueued", None),
)  # fmt: skip


def recent(newest: datetime, seconds: int, number: int = 20) -> list[dict[str, Any]]:
    """Return the recent ticks of a schedule, oldest first, with every outcome."""
    found = []
    for place in reversed(range(number)):
        outcome, ended = OUTCOMES[-1 - place % len(OUTCOMES)]
        has_task = outcome not in ("missed", "overlap")
        at = newest - timedelta(seconds=seconds * place)
        tick = {"at": at.isoformat(), "outcome": outcome, "task": 184_467 - place if has_task else None}
        found.append(tick if ended is None else {**tick, "ended": ended})
    return found


def fill() -> dict[str, Schedule]:
    """Insert schedules from settings and from the admin, in every state; return them by kind."""
    now = timezone.now().replace(microsecond=0)
    hour = now.replace(minute=0, second=0)
    settings = {"origin": Schedule.ORIGIN_SETTINGS, "fingerprint": "f"}
    totals = {"enqueued": 48_213, "duplicate": 17, "overlap": 4, "missed": 211}
    return {
        "settings": add_schedule(
            "nightly report", task="Pass", cron="30 3 * * *", time_zone="Europe/Berlin", args=["shop"],
            next_at=hour + timedelta(hours=9), last_at=hour, recent_ticks=recent(hour, 86_400),
            totals=totals, **settings,
        ),
        "hand": add_schedule(
            "fetch orders", task="Pass", every=300, overlap=False, kwargs={"shop": 4711, "limit": 500},
            next_at=hour + timedelta(hours=1), last_at=hour, recent_ticks=recent(hour, 300), totals=totals,
        ),
        "paused": add_schedule(
            "newsletter", task="Pass", cron="0 8 * * mon", time_zone="UTC", paused=True, next_at=hour,
            comment="until the new provider is set up, see the page of the shop's newsletter",
        ),
        "stopped": add_schedule(
            "recalculate stock", task="Pass", every=3600, next_at=hour, stopped_at=hour, **settings
        ),
        "failing": add_schedule(
            "close the accounts of all customers who were last seen more than two years ago",
            task="shop.accounting.periodic.tasks.close_accounts_of_customers_last_seen_long_ago",
            cron="*/5 8-18 1-7,15-21 jan,apr,jul,oct mon-fri", time_zone="America/Argentina/Buenos_Aires",
            error=f"{FAILED} <script>alert(1)</script>", failures=3, last_failed=True, next_at=hour,
        ),
    }  # fmt: skip
