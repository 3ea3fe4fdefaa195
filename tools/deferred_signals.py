"""Hold signals back while something is started that would be lost if a handler raised in the middle."""

import signal
from collections.abc import Collection, Iterator
from contextlib import contextmanager


@contextmanager
def deferred(numbers: Collection[signal.Signals]) -> Iterator[None]:
    """Hold signals back for the length of a ``with`` block; then their handlers run, once for each signal.

    Unlike a blocked signal, this is not inherited by a process that is started meanwhile.
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
