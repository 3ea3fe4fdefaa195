"""The time of its tick is passed on in a task's context."""

from datetime import datetime, timezone

import pytest

from django_partisan.definitions import TaskDefinition
from django_partisan.processor import CurrentTask
from tests.support.registry import Idle
from tests.support.rows import task_row

NOON = datetime(2026, 11, 30, 12, tzinfo=timezone.utc)


@pytest.mark.parametrize(
    ("context", "moment"),
    [
        (None, None),
        ('{"traceparent": "00-1"}', None),
        ('{"partisan.scheduled_for": "2026-11-30T12:00:00+00:00"}', NOON),
        ('{"partisan.scheduled_for": "noon"}', None),
        ('{"partisan.scheduled_for": "2026-13-30T12:00:00+00:00"}', None),
        ('{"partisan.scheduled_for": 7}', None),
        ('"partisan.scheduled_for"', None),
    ],
)
def test_a_run_knows_the_moment_for_which_it_was_scheduled(context, moment):
    task = CurrentTask(task_row(1, context=context), TaskDefinition.of_processor(Idle), "default")

    assert task.scheduled_for == moment
