"""One PostgreSQL server for the whole run if its tests need one, a mark for each tier, shared fixtures."""

import gc
import os
import signal
import sys
import tempfile
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
import structlog

from django_partisan.telemetry import bus, swallowed
from tests.support import events, registry
from tests.support.events import RecordedEvents
from tools import postgres, run_guard

if TYPE_CHECKING:
    from tools.otlp_sink import OtlpSink

TESTS = Path(__file__).parent


@pytest.hookimpl(tryfirst=True)
def pytest_sessionstart(session: pytest.Session) -> None:
    """Start the guard and the server before pytest-xdist starts its workers, which inherit its variables."""
    if hasattr(session.config, "workerinput"):
        return
    stack = ExitStack()
    session.config.add_cleanup(stack.close)
    # Of a run that a closed terminal or a signal ends, no process and no folder of its tests is left.
    os.environ.setdefault("PYTEST_DEBUG_TEMPROOT", tempfile.gettempdir())  # these folders are to be looked at
    os.environ.update(stack.enter_context(run_guard.guarded()))
    tempfile.tempdir = os.environ["TMPDIR"]
    if not _needs_database(session.config):
        return
    # Autovacuum at random moments would change plans, and what tests count of them.
    variables = stack.enter_context(postgres.environment(settings={"autovacuum": "off"}))
    # The settings were read before, without an address: libpq reads the variables when it connects.
    # DATABASE_URL would give the workers of pytest-xdist other settings than those of a run without them.
    variables.pop("DATABASE_URL", None)
    os.environ.update(variables)


def _needs_database(config: pytest.Config) -> bool:
    """Return whether a path on the command line reaches beyond the unit tests, which have no database."""
    paths = [config.invocation_params.dir / argument.partition("::")[0] for argument in config.args]
    return not all(path.resolve().is_relative_to(TESTS / "unit") for path in paths)


def pytest_configure() -> None:
    """Handle what a shell in the background, or ``nohup``, ignores: what tests start would ignore it, too."""
    if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
        signal.signal(signal.SIGINT, signal.default_int_handler)
    if signal.getsignal(signal.SIGHUP) is signal.SIG_IGN:
        signal.signal(signal.SIGHUP, lambda *_: None)  # a handler of Python's ends with the next exec


def pytest_collectstart() -> None:
    """Collect no garbage until the tests are collected, which makes much and throws nothing away.

    With pytest-xdist the workers collect tests, and the process that starts them does not.
    """
    gc.disable()


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Mark each test with its tier, the first folder below tests/; process tests are not measured.

    So one run of every tier measures what the unit and db tiers reach, and only that.
    """
    for item in items:
        tier = item.path.relative_to(TESTS).parts[0]
        item.add_marker(tier)
        if tier == "processes":
            item.add_marker("no_cover")


@pytest.hookimpl(wrapper=True, trylast=True)
def pytest_runtest_call(item: pytest.Item) -> Iterator[None]:
    """Measure no test with this mark: in a worker of pytest-xdist, pytest-cov pauses one of two coverages."""
    if item.get_closest_marker("no_cover") is None:
        yield
        return
    tracer = sys.gettrace()
    sys.settrace(None)
    try:
        yield
    finally:
        sys.settrace(tracer)


@pytest.hookimpl(trylast=True)
def pytest_collection_finish() -> None:
    """Have no collection, nor the end of the process, look at the modules and tests once more."""
    gc.freeze()
    gc.enable()


@pytest.fixture
def recorded_events() -> Iterator[RecordedEvents]:
    """Record every event of the test."""
    with events.subscribed(RecordedEvents()) as recorded:
        yield recorded


@pytest.fixture
def no_subscribers() -> Iterator[None]:
    """Take away the subscribers of the application, and after the test those of the test."""
    with events.no_subscribers():
        yield


@pytest.fixture
def own_registry() -> Iterator[None]:
    """Give the test an empty registry of processors."""
    with registry.empty_registry():
        yield


@pytest.fixture
def temporary_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Have the presence files of a test in a folder that nobody else sees."""
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    return tmp_path


@pytest.fixture
def sink() -> Iterator["OtlpSink"]:
    """Collect spans."""
    from tools.otlp_sink import OtlpSink  # protobuf takes a while to import

    with OtlpSink() as made:
        yield made


@pytest.fixture(autouse=True)
def _nothing_left_by_other_tests() -> Iterator[None]:
    """Let each test count only what it caused itself, and see only what it bound itself."""
    bus.take()
    swallowed.counts.clear()
    structlog.contextvars.clear_contextvars()
    yield
    structlog.contextvars.clear_contextvars()


@pytest.fixture(autouse=True)
def _same_subscribers() -> Iterator[None]:
    """Fail a test that leaves other subscribers of events than it found, and give the next those."""
    before = bus.subscribers()
    yield
    after = bus.subscribers()
    if after != before:
        bus.exchange(after, before)
    assert after == before
