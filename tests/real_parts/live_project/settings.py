"""The test settings, with queues to observe and database statistics read every second."""

import os

from tests.settings import *  # noqa: F403
from tests.settings import INSTALLED_APPS as APPS_OF_THE_TESTS

# Only its own processors, because names of processors are unique in a project.
INSTALLED_APPS = [app for app in APPS_OF_THE_TESTS if app != "tests.app"] + ["tests.real_parts.live_project"]

PARTISAN_CONFIG = {
    "default": {"LEASE_SECONDS": 3, "TASKS_PER_WORKER_INSTANCE": 400, "MAX_QUEUE_SIZE": 20},
    "mail": {"LEASE_SECONDS": 3, "MAX_QUEUE_SIZE": 20},
    "idle": {"LEASE_SECONDS": 3},
    "crashing": {"LEASE_SECONDS": 3},
    "failing": {"LEASE_SECONDS": 3},
    "backlog": {"LEASE_SECONDS": 3, "MAX_WAIT_SECONDS": 6},
    "locked": {"LEASE_SECONDS": 3},
    "readonly": {"LEASE_SECONDS": 3},
    "reports": {"LEASE_SECONDS": 3},
    "unseen": {"LEASE_SECONDS": 3},
    "various": {"LEASE_SECONDS": 3},
}

PARTISAN_OBSERVABILITY = {
    "METRICS_DB_MIN_INTERVAL": 1,
    "METRICS_DB_TIMEOUT": 0.5,
    "METRICS_DB_MAX_AGE": 10,
    "METRICS_CREATED": bool(os.environ.get("TEST_METRICS_CREATED")),
}
