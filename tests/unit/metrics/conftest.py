"""Processors to count for, and what a run of one looks like."""

import shutil
from collections.abc import Iterator
from types import SimpleNamespace
from typing import Any

import pytest

from django_partisan import registry
from django_partisan.metrics.custom import CounterMeasure, HistogramMeasure
from django_partisan.processor import BaseTaskProcessor
from django_partisan.telemetry import bus, events

from .certificates import Certificates

QUEUE = "default"

ERROR = events.ErrorInfo("shop.NotPaid", "no money", "Traceback ...")


def processor(name: str, queue: str = QUEUE, measures: tuple[Any, ...] = ()) -> Any:
    """Make a processor class."""
    attributes = {"QUEUE_NAME": queue, "MEASURES": measures, "__module__": __name__}
    return type(name, (BaseTaskProcessor,), attributes)


@pytest.fixture(autouse=True)
def _own_state(own_registry: None, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Give each test two processors of the queue and one of another, and nobody who listens yet."""
    measures = (
        CounterMeasure("mails_total", "Mails sent.", ("kind",)),
        HistogramMeasure("size_bytes", "Size.", buckets=(10, 100)),
    )
    registry.register(processor("Mail", measures=measures))
    registry.register(processor("Report"))
    registry.register(processor("Elsewhere", queue="other"))
    for name in ("_subscribers", "swallowed", "_told"):
        monkeypatch.setattr(bus, name, type(getattr(bus, name))())
    bus.refresh()
    yield
    monkeypatch.undo()
    bus.refresh()


def completed(run: events.Run, seconds: float) -> events.RunsCompleted:
    """Return what a worker tells of a run that ended well."""
    return events.RunsCompleted(run.queue, run.processor, [seconds], [run.wait_seconds], [run.attempt])


@pytest.fixture
def run() -> events.Run:
    """A first attempt of ``Mail`` that waited for 30 ms."""
    return events.Run(1, "Mail", QUEUE, 10, 1, 0, 0, 0, 1, 0.03, None)


@pytest.fixture
def task() -> events.TaskRef:
    """The same, seen by the manager."""
    return events.TaskRef(1, "Mail", QUEUE, 10, 1, 0, 0)


@pytest.fixture
def state() -> SimpleNamespace:
    """The state of a manager with two idle workers; change it, and ``snapshot(state)`` shows it."""
    workers = tuple(events.WorkerSeen(slot, 1, 0, "idle", None, 0.0, 0.0) for slot in range(2))
    return SimpleNamespace(
        queue=QUEUE,
        workers_configured=2,
        workers=workers,
        buffered=3,
        buffer_limit=10,
        unsettled=4,
        draining=False,
        database_reachable=True,
        last_loop_at=1_000.0,
        last_claim_at=900.0,
        last_finished_at=800.0,
    )


def snapshot(state: SimpleNamespace) -> events.Snapshot:
    return events.Snapshot(**vars(state))


@pytest.fixture(scope="session")
def certificates(tmp_path_factory: pytest.TempPathFactory) -> Certificates:
    """Certificates for a server on localhost and its clients."""
    if shutil.which("openssl") is None:
        pytest.skip("the openssl program is not installed")
    return Certificates(tmp_path_factory.mktemp("certificates"))
