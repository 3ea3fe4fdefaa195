"""What the parts of the manager's loop have in common."""

from typing import Final

NEVER: Final = float("inf")


class Component:
    """One duty of the manager; a component overrides the methods that it needs.

    The loop calls ``turn()`` of each component, in the order of the manager's list, and then sleeps
    until the earliest ``next_at()``, or until a pipe, a signal or an answer of the database wakes it.
    All methods run in the loop's thread.
    """

    is_stopped = False
    """True once the manager drains: begin nothing new."""
    _next_at = NEVER

    def turn(self, now: float) -> None:
        """Do what is due at ``now``, in monotonic seconds; must not block."""

    def next_at(self) -> float:
        """Return the monotonic time at which ``turn()`` has something to do without being woken."""
        return self._next_at

    @property
    def is_idle(self) -> bool:
        """True if it holds no task and found nothing to do; after ``stop()``, if the manager may end."""
        return True

    def stop(self) -> None:
        """Begin nothing new, because the manager drains."""
        self.is_stopped = True
