"""The lean settings with the traced application; the environment supplies the rest."""

import os

from tests.processes.lean_settings import *  # noqa: F403
from tests.processes.lean_settings import INSTALLED_APPS

INSTALLED_APPS = [*INSTALLED_APPS, "tests.processes.traced"]
PARTISAN_CONFIG = {
    "default": {
        "WORKERS_COUNT": 2,
        "TASKS_PER_WORKER_INSTANCE": int(os.environ.get("TRACED_TASKS_PER_WORKER", 0)) or None,
        "SLEEP_DELAY_SECONDS": 0.2,
    }
}
PARTISAN_OBSERVABILITY = {
    "TRACE_SETTLES": True,
    "TELEMETRY_SHUTDOWN_TIMEOUT": float(os.environ.get("TRACED_SHUTDOWN_TIMEOUT", 5)),
}
