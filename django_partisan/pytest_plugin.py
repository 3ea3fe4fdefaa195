"""Fixtures for pytest, which finds this module by its entry point.

The module is imported in every pytest run where the library is installed. So it imports nothing from Django,
and nothing that needs Django's settings, before a fixture is used.
"""

from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from django_partisan.testing import CapturedEvents, CapturedMetrics, CapturedSpans, Ran


@pytest.fixture
def partisan_drain() -> "Callable[..., list[Ran]]":
    """Run tasks until none is due: ``django_partisan.testing.drain()``."""
    from django_partisan.testing import drain

    return drain


@pytest.fixture
def partisan_run_pending() -> "Callable[..., list[Ran]]":
    """Run each due task once: ``django_partisan.testing.run_pending()``."""
    from django_partisan.testing import run_pending

    return run_pending


@pytest.fixture
def partisan_immediate() -> Iterator[None]:
    """Run tasks after the commit, and raise the errors that fail them: ``PARTISAN_IMMEDIATE = 'raise'``.

    A test in a transaction has no commit: use ``django_capture_on_commit_callbacks(execute=True)``.
    """
    from django.test import override_settings

    with override_settings(PARTISAN_IMMEDIATE="raise"):
        yield


@pytest.fixture
def partisan_events() -> "Iterator[CapturedEvents]":
    """Capture the log events of the test."""
    from django_partisan.testing import captured_events

    with captured_events() as captured:
        yield captured


@pytest.fixture
def partisan_spans() -> "Iterator[CapturedSpans]":
    """Capture the spans of the test."""
    from django_partisan.testing import captured_spans

    with captured_spans() as captured:
        yield captured


@pytest.fixture
def partisan_metrics() -> "Iterator[CapturedMetrics]":
    """Capture what the test adds to metrics."""
    from django_partisan.testing import captured_metrics

    with captured_metrics() as captured:
        yield captured
