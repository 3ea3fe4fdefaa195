"""Tasks that fail at the same moment do not all run again at the same moment."""

from collections import Counter
from typing import Any

import pytest
from django.db import connection

from django_partisan.config.processor_configs import ErrorsHandleConfig
from django_partisan.definitions import TaskDefinition
from django_partisan.engine.judge import judge
from django_partisan.models import Task
from django_partisan.sql.settling import apply_changes
from tests.support.engine import config_of
from tests.support.registry import Idle
from tests.support.rows import claim, insert, make_copies

pytestmark = pytest.mark.django_db

NUMBER = 10_000


class Charge(Idle):
    UNIQUE_FOR_PARAMS = False
    RETRY_ON_ERROR_CONFIG = ErrorsHandleConfig("*", 3, retry_pause=60, retry_jitter=0.5)


def test_ten_thousand_errors_at_once_are_spread_over_the_jitter(manager):
    make_copies(insert(processor="Charge"), NUMBER - 1)
    rows = claim(connection, "default", manager(), NUMBER)
    definition = TaskDefinition.of_processor(Charge)
    results = [judge(ConnectionError("down"), row, definition, config_of(), None) for row in rows]
    changes: list[Any] = [result.change for result in results]

    assert apply_changes(connection, changes) == []

    moments = list(Task.objects.waiting().values_list("execute_after", flat=True))
    seconds = Counter(moment.replace(microsecond=0) for moment in moments)
    assert len(moments) == NUMBER
    assert 29 < (max(moments) - min(moments)).total_seconds() <= 30
    assert max(seconds.values()) <= 2 * NUMBER / 30
