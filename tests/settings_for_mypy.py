"""All applications of the checkout in one project, so that mypy's Django plugin knows every model."""

from demo.settings import *  # noqa: F403
from demo.settings import INSTALLED_APPS as APPS_OF_THE_DEMO

INSTALLED_APPS = [*APPS_OF_THE_DEMO, "tests.app", "tools.chaos.app"]

# The one setting that only bench/ has.
PARTISAN_BENCH_UNIQUE = True
