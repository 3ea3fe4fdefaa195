"""Shared fixtures, a marker for each tier, and one PostgreSQL server per test run where tests need it."""

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
    """Start the guard and the server before pytest-xdist starts its workers, which inherit the variables."""
    if hasattr(session.config, "workerinput"):
        return
    stack = ExitStack()
    session.config.add_cleanup(stack.close)
    # If a closed terminal or a signal ends the run, none of its processes and folders remain.
    os.environ.setdefault("PYTEST_DEBUG_TEMPROOT", tempfile.gettempdir())  # kept for inspection
    os.environ.update(stack.enter_context(run_guard.guarded()))
    tempfile.tempdir = os.environ["TMPDIR"]
    if not _needs_database(session.config):
        return
    # Autovacuum at random moments would change query plans and the counts that tests check.
    variables = stack.enter_context(postgres.environment(settings={"autovacuum": "off"}))
    # The settings were loaded earlier, without an address: libpq reads these variables when it connects.
    # With DATABASE_URL, the workers of pytest-xdist would have other settings than a run without them.
    variables.pop("DATABASE_URL", None)
    os.environ.update(variables)


def _needs_database(config: pytest.Config) -> bool:
    """Return whether a path on the command line is outside the unit tests, which use no database."""
    paths = [config.invocation_params.dir / argument.partition("::")[0] for argument in config.args]
    return not all(path.resolve().is_relative_to(TESTS / "unit") for path in paths)


def pytest_configure() -> None:
    """Handle signals that a background shell or ``nohup`` ignores; otherwise child processes inherit that."""
    if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
        signal.signal(signal.SIGINT, signal.default_int_handler)
    if signal.getsignal(signal.SIGHUP) is signal.SIG_IGN:
        signal.signal(signal.SIGHUP, lambda *_: None)  # exec() resets a Python handler to the default


def pytest_collectstart() -> None:
    """Turn the garbage collector off during collection, which allocates a lot and frees nothing.

    With pytest-xdist, only the workers collect tests, not the process that starts them.
    """
    gc.disable()


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Mark each test with its tier, the first folder below tests/, and exclude process tests from coverage.

    A single run of all tiers then measures exactly what the unit and db tiers cover.
    """
    for item in items:
        tier = item.path.relative_to(TESTS).parts[0]
        item.add_marker(tier)
        if tier == "processes":
            item.add_marker("no_cover")


@pytest.hookimpl(wrapper=True, trylast=True)
def pytest_runtest_call(item: pytest.Item) -> Iterator[None]:
    """Measure no test marked ``no_cover``; in an xdist worker, pytest-cov pauses one of two coverages."""
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
    """Exclude modules and tests from all later garbage collections, including the one at exit."""
    gc.freeze()
    gc.enable()


@pytest.fixture
def recorded_events() -> Iterator[RecordedEvents]:
    """Record every event emitted during the test."""
    with events.subscribed(RecordedEvents()) as recorded:
        yield recorded


@pytest.fixture
def no_subscribers() -> Iterator[None]:
    """Unsubscribe the application's subscribers; after the test, restore them."""
    with events.no_subscribers():
        yield


@pytest.fixture
def own_registry() -> Iterator[None]:
    """Give the test an empty registry of processors."""
    with registry.empty_registry():
        yield


@pytest.fixture
def temporary_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Put the presence files of a test in a private folder."""
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
    """Clear counts and context variables, so that each test sees only its own."""
    bus.take()
    swallowed.counts.clear()
    structlog.contextvars.clear_contextvars()
    yield
    structlog.contextvars.clear_contextvars()


@pytest.fixture(autouse=True)
def _same_subscribers() -> Iterator[None]:
    """Fail a test that leaves the subscribers changed, and restore them for the next test."""
    before = bus.subscribers()
    yield
    after = bus.subscribers()
    if after != before:
        bus.exchange(after, before)
    assert after == before
