"""A database call that a thread is to make: now, or when a notification arrives."""

from collections import deque
from collections.abc import Callable
from typing import Any, TypeAlias

from django.db.backends.base.base import BaseDatabaseWrapper

Call: TypeAlias = Callable[[BaseDatabaseWrapper], Any]
Done: TypeAlias = Callable[[Any], None]
Deliver: TypeAlias = Callable[[Callable[[], None]], None]
"""Passes a function to the manager's loop, which calls it in its own thread."""


class SubmittedCall:
    """A call, and the callback for its result."""

    def __init__(self, call: Call, done: Done) -> None:
        self.call = call
        self.done = done
        self.is_given_up = False


class StandingCall(SubmittedCall):
    """A call to make when ``payload`` arrives on ``channel``, unless it is withdrawn before.

    The database thread and the loop both try to take it, and only the first of them succeeds. The thread asks
    ``may_begin`` first, because much time may have passed. ``withdrawn`` is called instead of ``done`` if the
    call is withdrawn.
    """

    def __init__(
        self,
        channel: str,
        payload: str,
        call: Call,
        done: Done,
        may_begin: Callable[[], bool],
        withdrawn: Callable[[], None],
    ) -> None:
        super().__init__(call, done)
        self._channel = channel
        self._payload = payload
        self._may_begin = may_begin
        self.withdrawn = withdrawn
        # One item until the call is taken; ``pop()`` is atomic, so only one thread gets it.
        self._left = deque([True])

    @property
    def is_taken(self) -> bool:
        """True if the call has begun or was withdrawn."""
        return not self._left

    def take_if_notified(self, channel: str, payloads: set[str]) -> bool:
        """Take the call if it may begin because of these notifications; return whether it was taken."""
        is_notified = channel == self._channel and self._payload in payloads
        return is_notified and self._may_begin() and self.take()

    def take(self) -> bool:
        """Take the call; return False if the other thread has taken it."""
        try:
            return self._left.pop()
        except IndexError:
            return False
