"""The base class of the manager's components."""

from typing import Final

NEVER: Final = float("inf")


class Component:
    """One duty of the manager; subclasses override the methods that they need.

    The loop calls ``turn()`` of each component, in the order of the manager's list, and then sleeps
    until the earliest ``next_at()``, or until a pipe, a signal or an answer from the database wakes it.
    All methods run in the loop's thread.
    """

    is_stopped = False
    """True once the manager drains; the component must not begin anything new."""
    _next_at = NEVER

    def turn(self, now: float) -> None:
        """Do the work that is due at ``now``, in monotonic seconds. Must not block."""

    def next_at(self) -> float:
        """Return the monotonic time at which to call ``turn()`` even if nothing has woken the loop."""
        return self._next_at

    @property
    def is_idle(self) -> bool:
        """True if the component has no task and nothing to do; after ``stop()``, if the manager may end."""
        return True

    def stop(self) -> None:
        """Begin nothing new from now on, because the manager drains."""
        self.is_stopped = True
