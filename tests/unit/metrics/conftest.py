"""Fixtures: processors to count for, and sample runs."""

import shutil
from collections.abc import Iterator
from types import SimpleNamespace
from typing import Any

import pytest

from django_partisan import registry
from django_partisan.metrics.custom import CounterMeasure, HistogramMeasure
from django_partisan.telemetry import bus, swallowed
from django_partisan.telemetry.events.runs import RunsCompleted
from django_partisan.telemetry.events.snapshot import QueueLimits, Snapshot, WorkerSnapshot
from django_partisan.telemetry.events.values import ErrorInfo, Run, TaskRef
from tests.support.events import RecordedEvents, no_subscribers
from tests.support.registry import Idle, empty_registry

from .certificates import Certificates

QUEUE = "default"
MAIL = (QUEUE, "Mail")

ERROR = ErrorInfo("shop.NotPaid", "no money", "Traceback ...")
RUN = Run(1, "Mail", QUEUE, 10, 1, 0, 0, 0, 1, 0.03, None)
"""A first attempt of ``Mail`` that waited for 30 ms."""
TASK = TaskRef(1, "Mail", QUEUE, 10, 1, 0, 0)
"""The same task, as the manager sees it."""


def processor(name: str, queue: str = QUEUE, measures: tuple[Any, ...] = (), **attributes: Any) -> Any:
    """Return a processor class."""
    given = {"QUEUE_NAME": queue, "MEASURES": measures, "__module__": __name__}
    return type(name, (Idle,), {**given, **attributes})


@pytest.fixture(autouse=True)
def _own_state() -> Iterator[None]:
    """Give each test two processors of the queue, one of another queue, no subscribers and no errors."""
    measures = (
        CounterMeasure("mails_total", "Mails sent.", ("kind",)),
        HistogramMeasure("size_bytes", "Size.", buckets=(10, 100)),
    )
    swallowed.counts.clear()
    with empty_registry(), no_subscribers():
        registry.register(processor("Mail", measures=measures))
        registry.register(processor("Report"))
        registry.register(processor("Elsewhere", queue="other"))
        yield
    swallowed.counts.clear()


@pytest.fixture
def recorded() -> RecordedEvents:
    subscriber = RecordedEvents()
    bus.subscribe(subscriber)
    return subscriber


def completed(seconds: float, run: Run = RUN) -> RunsCompleted:
    """Return the event that a worker emits for a completed run."""
    return RunsCompleted(run.queue, run.processor, [seconds], [run.wait_seconds], [run.attempt])


@pytest.fixture
def state() -> SimpleNamespace:
    """The state of a manager with two idle workers; change it, then call ``snapshot(state)``."""
    return SimpleNamespace(
        queue=QUEUE,
        workers_configured=2,
        workers=(seen(0), seen(1)),
        buffered=3,
        buffer_limit=10,
        unsettled=4,
        draining=False,
        database_reachable=True,
        last_loop_at=1_000.0,
        last_claim_at=900.0,
        last_finished_at=800.0,
        limits=QueueLimits(None, 3, None, 10.0),
    )


def seen(slot: int, state: str = "idle", **values: Any) -> WorkerSnapshot:
    """Return a worker as it appears in a snapshot."""
    worker = WorkerSnapshot(slot, 1, 0, state, None, 0.0, 0.0)
    return worker._replace(**values)


def snapshot(state: SimpleNamespace) -> Snapshot:
    return Snapshot(**vars(state))


@pytest.fixture(scope="session")
def certificates(tmp_path_factory: pytest.TempPathFactory) -> Certificates:
    """Certificates for a server on localhost and its clients."""
    if shutil.which("openssl") is None:
        pytest.skip("the openssl program is not installed")
    return Certificates(tmp_path_factory.mktemp("certificates"))
