"""One project with all applications of the repository, so that mypy's Django plugin finds every model."""

from demo.settings import *  # noqa: F403
from demo.settings import INSTALLED_APPS as APPS_OF_THE_DEMO

INSTALLED_APPS = [*APPS_OF_THE_DEMO, "tests.app", "tools.chaos.app"]

# The only setting that is specific to bench/.
PARTISAN_BENCH_UNIQUE = True
