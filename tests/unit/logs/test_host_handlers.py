"""Lines buffered by the host's handlers are written when a worker ends."""

import logging
from collections.abc import Iterator
from logging.handlers import MemoryHandler
from threading import Event

import pytest

from django_partisan.logs import LogSubscriber, host_handlers
from tests.support.waiting import PATIENCE_SECONDS


class Kept(logging.Handler):
    """Store records; flush as the test says."""

    def __init__(self) -> None:
        super().__init__()
        self.records: list[logging.LogRecord] = []
        self.raises: Exception | None = None
        self.block: Event | None = None

    def emit(self, record: logging.LogRecord) -> None:
        self.records.append(record)

    def flush(self) -> None:
        if self.raises is not None:
            raise self.raises
        if self.block is not None:
            self.block.wait(PATIENCE_SECONDS)


@pytest.fixture
def kept() -> Iterator[Kept]:
    """Buffer one logger's records in memory for this handler, which other loggers also have."""
    made = Kept()
    memory = MemoryHandler(1000, target=made)
    for name in ("a", "b"):
        logging.getLogger(f"shop.{name}").addHandler(made)
    logging.getLogger("shop.c").addHandler(memory)
    logging.getLogger("shop.c").warning("held back")
    yield made
    made.block = made.raises = None
    for name in ("a", "b"):
        logging.getLogger(f"shop.{name}").removeHandler(made)
    logging.getLogger("shop.c").removeHandler(memory)


def test_a_worker_that_closes_its_telemetry_writes_what_handlers_hold_back(kept):
    subscriber = LogSubscriber("worker")

    subscriber.close(PATIENCE_SECONDS)

    assert [record.getMessage() for record in kept.records] == ["held back"]


def test_a_handler_that_raises_keeps_no_other_from_being_flushed(kept):
    kept.raises = OSError("no space left")

    assert host_handlers.flush(PATIENCE_SECONDS)
    assert len(kept.records) == 1


def test_a_handler_that_hangs_is_given_up_after_the_bound(kept):
    kept.block = Event()

    assert not host_handlers.flush(0.01)
    kept.block.set()
