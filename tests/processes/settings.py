"""The settings of managers that tests start: those of all tests, and what the one test asks for."""

import json
import os
import socket

from tests.settings import *  # noqa: F403

globals().update(json.loads(os.environ["TEST_SETTINGS"]))

if "TEST_HOST" in os.environ:  # the name of the host on which the manager believes itself to be
    socket.gethostname = lambda: os.environ["TEST_HOST"]
