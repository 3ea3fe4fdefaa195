"""The counted scenarios: the enqueued tasks, when the manager runs, and the relevant figures."""

from collections.abc import Callable, Mapping
from typing import Final

from django.db import connection, transaction

from bench.app.partisan_tasks import Bench
from bench.budget import thread_spawner
from bench.budget.figures import TASKS
from bench.budget.scenario_counter import ScenarioCounter
from django_partisan.processor import bulk_delay

OF_THE_CALLER: Final = ("statements", "commits", "wal_bytes", "instructions_caller")
OF_ALL: Final = (
    "statements",
    "commits",
    "wal_bytes",
    "to_workers",
    "to_manager",
    "wakeups",
    "instructions_manager",
    "instructions_worker",
)
BULK: Final = 1_000
WARM_UP: Final = 20
NOWHERE: Final = "warm-up"
GAP_SECONDS: Final = 0.05
QUIET_SECONDS: Final = 5.0
"""After this time without tasks, the manager has announced that it sleeps."""


def delay(counter: ScenarioCounter, name: str) -> None:
    """Call `delay()` repeatedly, without a manager."""
    counter.empty()
    with counter.instructions.counted(NOWHERE):
        _call_delay(WARM_UP, 0)
    counter.vacuum()
    with counter.counted(name, *OF_THE_CALLER), counter.instructions.counted("caller"):
        _call_delay(TASKS[name], WARM_UP)


def bulk(counter: ScenarioCounter, name: str) -> None:
    """Call `bulk_delay()` repeatedly, without a manager."""
    counter.empty()
    with counter.instructions.counted(NOWHERE):
        bulk_delay(_processors(BULK, 0))
    counter.vacuum()
    batches = [_processors(BULK, BULK + start) for start in range(0, TASKS[name], BULK)]
    with counter.counted(name, *OF_THE_CALLER), counter.instructions.counted("caller"):
        for batch in batches:
            bulk_delay(batch)


def latency(counter: ScenarioCounter, name: str) -> None:
    """Enqueue tasks one by one, each when the previous one is settled."""
    _have_manager(counter)
    for i in range(WARM_UP):
        _run_one(counter, i)
    counter.vacuum()
    with counter.counted(name, *OF_ALL):
        for i in range(TASKS[name]):
            _run_one(counter, WARM_UP + i)


def drain(counter: ScenarioCounter, name: str) -> None:
    """Enqueue many tasks at once, and wait until all are settled."""
    _have_manager(counter)
    _enqueue(counter, WARM_UP * 10)
    _work(counter)
    counter.lockstep.pass_time(QUIET_SECONDS)
    _enqueue(counter, TASKS[name])
    with counter.counted(name, *OF_ALL):
        _work(counter)


CALLS: Final[Mapping[str, Callable[[ScenarioCounter, str], None]]] = {
    "delay": delay,
    "delay_unique": delay,
    "bulk_delay": bulk,
    "bulk_delay_unique": bulk,
    "latency": latency,
    "drain_default": drain,
    "drain_tuned": drain,
}


def _have_manager(counter: ScenarioCounter) -> None:
    """Start the manager unless it is running; return when it sleeps and its workers are ready."""
    if not counter.lockstep.members:
        counter.empty()
        connection.ensure_connection()  # if opened later, a worker would consider it its task's
        thread_spawner.start_manager()
    counter.lockstep.pass_time(QUIET_SECONDS)


def _run_one(counter: ScenarioCounter, i: int) -> None:
    Bench(i=i, m=0).delay()
    _work(counter)
    counter.lockstep.pass_time(GAP_SECONDS)


def _enqueue(counter: ScenarioCounter, tasks: int) -> None:
    with transaction.atomic():  # one notification for all
        for start in range(0, tasks, BULK):
            bulk_delay(_processors(min(BULK, tasks - start), start))
    counter.vacuum()


def _work(counter: ScenarioCounter) -> None:
    counter.lockstep.expect()
    counter.lockstep.until(counter.is_settled)


def _call_delay(tasks: int, start: int) -> None:
    for i in range(start, start + tasks):
        Bench(i=i, m=0).delay()


def _processors(tasks: int, start: int) -> list[Bench]:
    return [Bench(i=i, m=0) for i in range(start, start + tasks)]
