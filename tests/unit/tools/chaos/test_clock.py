"""A manager with a wrong clock sees other times everywhere, and datetimes of the same class."""

import json

import pytest

from tests.support.commands import python
from tools.chaos.processes import environment
from tools.chaos.trial import CLOCK_OFF_SECONDS

ASK = """\
import json, time
from datetime import datetime, timezone as zones
from django.utils import timezone
from django.conf import settings

datetime.now()  # before the settings, as Django itself may
settings.DATABASES
clocks = {
    "time()": time.time,
    "now()": lambda: datetime.now().timestamp(),
    "now(utc)": lambda: datetime.now(zones.utc).timestamp(),
    "Django": lambda: timezone.now().timestamp(),
}
right = time.clock_gettime(time.CLOCK_REALTIME)
print(json.dumps({name: clock() - right for name, clock in clocks.items()}))
assert type(timezone.now()) is datetime and type(datetime.now()) is datetime
assert timezone.now().tzinfo is zones.utc
"""


@pytest.mark.slow
@pytest.mark.parametrize("off", [0.0, CLOCK_OFF_SECONDS, -CLOCK_OFF_SECONDS])
def test_every_clock_of_the_process_is_off(tmp_path, off):
    variables = environment(tmp_path, {}, {}, clock_off_seconds=off)

    done = python("-c", ASK, env=variables)

    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout) == pytest.approx(dict.fromkeys(json.loads(done.stdout), off), abs=60)
