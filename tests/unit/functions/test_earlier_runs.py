"""What the history of a task says about the runs before the current one."""

from typing import Any

import pytest

from django_partisan.functions.stored_result import EarlierRuns
from django_partisan.models import Task

REQUEUED = {"outcome": "requeued"}
FIRST = {"attempt": 1, "worker": "a:1", "error_type": "OSError", "started_at": "2026-01-01T00:00:00Z"}
SECOND_TO_FOURTH = {
    "attempt": 4,
    "count": 3,
    "worker": "a:4",
    "error_type": "shop.Late",
    "started_at": "2026-01-01T00:03:00Z",
    "first_started_at": "2026-01-01T00:01:00Z",
}


@pytest.mark.parametrize(
    ("attempt", "errors", "workers"),
    [
        (1, [], []),
        (2, ["builtins.OSError"], ["a:1"]),
        (3, ["builtins.OSError", "shop.Late"], ["a:1", "a:4"]),
        (4, ["builtins.OSError", "shop.Late", "shop.Late"], ["a:1", "a:4"]),
        (5, ["builtins.OSError", "shop.Late", "shop.Late", "shop.Late"], ["a:1", "a:4"]),
    ],
)
def test_the_entry_of_a_run_and_of_later_ones_does_not_count(
    attempt: int, errors: list[str], workers: list[str]
):
    row = Task(history=[REQUEUED, FIRST, SECOND_TO_FOURTH])

    earlier = EarlierRuns.before(attempt, row)

    assert [error.exception_class_path for error in earlier.errors] == errors
    assert earlier.worker_ids == workers


def test_the_first_start_is_that_of_the_first_run():
    starts: list[Any] = [
        EarlierRuns.before(5, Task(history=history)).first_start
        for history in (None, [FIRST, SECOND_TO_FOURTH], [SECOND_TO_FOURTH])
    ]

    assert [start and start.minute for start in starts] == [None, 0, 1]
