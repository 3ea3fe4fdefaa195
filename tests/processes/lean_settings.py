"""The tests' settings with what tasks need and no more: most of a test is the start of its processes.

The admin stays with the tests of the db tier, and with the manager of the demo.
"""

import sys

from tests.settings import *  # noqa: F403

INSTALLED_APPS = ["django_partisan", "tests.app"]
MIDDLEWARE = []
TEMPLATES = []
ROOT_URLCONF = ""

# Tools of development bring rich, which structlog imports where it is there; we render without it.
sys.modules.setdefault("rich", None)  # type: ignore[arg-type]
