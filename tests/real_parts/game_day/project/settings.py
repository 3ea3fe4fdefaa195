"""Settings of a site: short leases, database statistics read every second, and a clock that can be ahead."""

import os

from tests.settings import *  # noqa: F403
from tests.settings import INSTALLED_APPS as APPS_OF_THE_TESTS
from tools.chaos import clock

# Only its own processors, because names of processors are unique in a project.
INSTALLED_APPS = [app for app in APPS_OF_THE_TESTS if app != "tests.app"] + [
    "tests.real_parts.game_day.project"
]

PARTISAN_CONFIG = {
    "shop": {"LEASE_SECONDS": 3},
    "hurried": {"LEASE_SECONDS": 3, "MAX_WAIT_SECONDS": 30},
    "urgent": {"LEASE_SECONDS": 3, "MAX_WAIT_SECONDS": 6},
    "reports": {"LEASE_SECONDS": 3},
}

PARTISAN_SCHEDULES = {"nightly": {"task": "Nightly", "cron": "0 3 * * *"}}

PARTISAN_OBSERVABILITY = {
    "METRICS_DB_MIN_INTERVAL": 1,
    "METRICS_DB_TIMEOUT": 0.5,
    "METRICS_DB_MAX_AGE": 10,
}

if _ahead := float(os.environ.get("GAME_DAY_CLOCK_AHEAD_SECONDS", "0")):
    clock.turn(_ahead)
