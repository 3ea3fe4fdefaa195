"""The settings of managers that tests start: the lean settings, and those that the test adds."""

import json
import os
import socket

from tests.processes.lean_settings import *  # noqa: F403

globals().update(json.loads(os.environ["TEST_SETTINGS"]))

if "TEST_HOST" in os.environ:  # the host name that the manager sees
    socket.gethostname = lambda: os.environ["TEST_HOST"]
