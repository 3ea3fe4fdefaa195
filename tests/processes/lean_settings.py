"""The test settings reduced to what tasks need: starting processes takes most of the time of a test.

The admin is tested in the db tier and with the demo's manager.
"""

import sys

from tests.settings import *  # noqa: F403

INSTALLED_APPS = ["django_partisan", "tests.app"]
MIDDLEWARE = []
TEMPLATES = []
ROOT_URLCONF = ""

# structlog's development tools import rich if it is installed; our log lines are rendered without it.
sys.modules.setdefault("rich", None)  # type: ignore[arg-type]
