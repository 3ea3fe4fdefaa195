"""The settings of managers that tests start: those of all tests, and what the one test asks for."""

import json
import os

from tests.settings import *  # noqa: F403

globals().update(json.loads(os.environ["TEST_SETTINGS"]))
