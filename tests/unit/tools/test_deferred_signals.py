"""A signal that arrives during a start takes effect when the start is complete."""

import signal
from collections.abc import Iterator

import pytest

from tools.deferred_signals import deferred

NUMBERS = (signal.SIGUSR1, signal.SIGUSR2)


class Interrupted(Exception):
    """Raised by the handler."""


@pytest.fixture(autouse=True)
def handlers() -> Iterator[None]:
    def interrupt(number: int, frame: object) -> None:
        raise Interrupted(number)

    before = [signal.signal(number, interrupt) for number in NUMBERS]
    yield
    for number, handler in zip(NUMBERS, before, strict=True):
        signal.signal(number, handler)


def test_a_signal_takes_effect_at_the_end_of_the_block():
    started = []

    with pytest.raises(Interrupted, match=str(int(signal.SIGUSR1))), deferred(NUMBERS):
        signal.raise_signal(signal.SIGUSR1)
        started.append("all of it")

    assert started == ["all of it"]
    with pytest.raises(Interrupted):
        signal.raise_signal(signal.SIGUSR2)


def test_an_error_in_the_block_is_raised_and_handlers_are_as_before():
    with pytest.raises(OSError, match="no such program"), deferred(NUMBERS):
        raise OSError("no such program")

    with pytest.raises(Interrupted):
        signal.raise_signal(signal.SIGUSR1)
