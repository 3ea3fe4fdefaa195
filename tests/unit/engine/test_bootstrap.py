"""The fork server's start: what it gets from the manager must not reach workers and their programs."""

import importlib
import os
import signal
from collections.abc import Iterator

import pytest

from django_partisan.engine.forkserver import bootstrap
from django_partisan.engine.forkserver.bootstrap import PATH_BEFORE, SIGNALS, prepare_fork_server


@pytest.fixture(autouse=True)
def signals_as_before() -> Iterator[None]:
    before = {number: signal.getsignal(number) for number in SIGNALS}
    mask = signal.pthread_sigmask(signal.SIG_BLOCK, ())
    yield
    for number, handler in before.items():
        signal.signal(number, handler)
    signal.pthread_sigmask(signal.SIG_SETMASK, mask)


@pytest.mark.parametrize("before", ["/users/own", None])
def test_the_users_python_path_is_restored(before: str | None, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setenv("PYTHONPATH", "/ours")
    monkeypatch.setenv(PATH_BEFORE, before or "")

    prepare_fork_server()

    assert os.environ.get("PYTHONPATH") == before
    assert PATH_BEFORE not in os.environ


def test_signals_to_the_group_that_came_while_it_started_do_no_harm(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setenv(PATH_BEFORE, "")
    signal.pthread_sigmask(signal.SIG_BLOCK, SIGNALS)
    for number in SIGNALS:
        signal.raise_signal(number)

    prepare_fork_server()

    assert not set(SIGNALS) & signal.pthread_sigmask(signal.SIG_BLOCK, ())
    assert [signal.getsignal(number) for number in SIGNALS] == [signal.SIG_IGN] * len(SIGNALS)


def test_importing_it_outside_the_fork_server_changes_nothing():
    before = [signal.getsignal(number) for number in SIGNALS]

    importlib.reload(bootstrap)

    assert [signal.getsignal(number) for number in SIGNALS] == before
