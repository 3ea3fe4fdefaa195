"""Sample statistics of a queue, and a fake query that returns them."""

import threading

from django_partisan.sql.queue_statistics import (
    HeldRows,
    LiveManagers,
    QueueStatistics,
    StatisticsQuery,
    UnservedTasks,
)
from django_partisan.sql.schedule_statistics import ScheduleStatistics

UNSERVED = (UnservedTasks("given up", 5),)
ELSEWHERE = (LiveManagers("reports", 3),)
HELD = (HeldRows("Letter", "unregistered", 6),)
SCHEDULES = (
    ScheduleStatistics("nightly", 1800.0, 900.0, 910.0, 0.0, 0.0, False, (3, 1, 0, 2)),
    ScheduleStatistics(None, 1800.0, 900.0, 910.0, 0.0, 0.0, False, None),
)
STATISTICS = QueueStatistics(
    1, 2, 3, 4, 5.0, 1, 7, 8, 9, 10, 11.0, 0.5, "16.1", HELD, UNSERVED, ELSEWHERE, "Mail", True, 900.0,
    schedules=SCHEDULES,
)  # fmt: skip


class FakeQuery(StatisticsQuery):
    """Return ``STATISTICS``, fail or hang, as the test sets it."""

    def __init__(self) -> None:
        self.calls = 0
        self.error: Exception | None = None
        self.schedules_error: Exception | None = None
        self.gate = threading.Event()
        self.gate.set()
        self.closed = False

    def read(self) -> QueueStatistics:
        self.calls += 1
        assert self.gate.wait(10)
        if self.error is not None:
            raise self.error
        return STATISTICS._replace(schedules_error=self.schedules_error)

    def close(self) -> None:
        self.closed = True
