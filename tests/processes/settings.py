"""The settings of managers that tests start: the lean ones, and what the one test asks for."""

import json
import os
import socket

from tests.processes.lean_settings import *  # noqa: F403

globals().update(json.loads(os.environ["TEST_SETTINGS"]))

if "TEST_HOST" in os.environ:  # the name of the host on which the manager believes itself to be
    socket.gethostname = lambda: os.environ["TEST_HOST"]
