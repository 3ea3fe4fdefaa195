"""Django's settings for managers and enqueuers. Settings of the trial are read from the environment."""

import json
import os

from tools.chaos import clock
from tools.chaos.settings_names import CHOSEN

SECRET_KEY = "not a secret: only for temporary databases"
USE_TZ = True
INSTALLED_APPS = ["django_partisan", "tools.chaos.app"]

_chosen = json.loads(os.environ[CHOSEN])
DATABASES = _chosen["DATABASES"]
PARTISAN_CONFIG = _chosen["PARTISAN_CONFIG"]
PARTISAN_SCHEDULES = _chosen["PARTISAN_SCHEDULES"]

if _off := _chosen["CLOCK_OFF_SECONDS"]:
    clock.turn(_off)
