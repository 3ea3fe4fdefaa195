"""Defer signals while something is started that would be lost if a handler raised in between."""

import signal
from collections.abc import Collection, Iterator
from contextlib import contextmanager


@contextmanager
def deferred(numbers: Collection[signal.Signals]) -> Iterator[None]:
    """Defer signals until the end of a ``with`` block, then run each signal's handler once.

    Unlike blocked signals, this is not inherited by processes that are started in the block.
    """
    received: set[int] = set()
    before = {number: signal.signal(number, lambda number, _: received.add(number)) for number in numbers}
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
    for one in received:
        signal.raise_signal(one)
