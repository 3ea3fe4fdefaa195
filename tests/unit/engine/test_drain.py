"""Stopping: serving, then draining, then by force."""

import time

import pytest

from django_partisan.engine.manager.component import NEVER
from django_partisan.engine.manager.drain import Drain


def test_the_first_request_drains_for_as_long_as_it_takes_and_the_second_forces():
    begins: list[bool] = []
    drain = Drain(None, begun=lambda: begins.append(drain.is_on))
    assert not drain.is_on
    drain.request("SIGTERM")
    drain.turn(time.monotonic() + 1e9)
    assert not drain.is_forced

    drain.request("SIGINT")

    assert drain.is_forced
    assert (begins, drain.signal) == ([True], "SIGTERM")


@pytest.mark.parametrize("first", ["SIGHUP", "SIGTERM"])
def test_a_hangup_begins_to_drain_but_never_forces(first: str):
    drain = Drain(None, begun=lambda: None)
    drain.request(first)

    drain.request("SIGHUP")
    drain.request("SIGHUP")

    assert drain.is_on
    assert not drain.is_forced
    drain.request("SIGTERM")
    assert drain.is_forced


def test_draining_ends_by_force_when_time_is_up():
    drain = Drain(5.0, begun=lambda: None)
    assert drain.next_at() == NEVER
    before = time.monotonic()
    drain.request()
    assert before + 5.0 <= drain.next_at() <= time.monotonic() + 5.0
    drain.turn(drain.next_at() - 0.1)
    assert not drain.is_forced

    drain.turn(drain.next_at())

    assert drain.is_forced
    assert drain.next_at() == NEVER
