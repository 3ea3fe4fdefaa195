"""Find out which other managers of the queue are dead.

| manager | is considered dead |
|---|---|
| on this host, with a presence file that can be read | as soon as its process has ended |
| on another host, or with a file that cannot be read | when its lease has expired |

An outage of the database makes the leases of live managers expire, too. So whenever there may have been one,
as at the start, no manager is considered dead because of its lease until it has had time to send a heartbeat:
``ignore_expiry_until()``.
"""

from collections.abc import Callable, Collection
from contextlib import ExitStack
from uuid import UUID

from django_partisan.engine.liveness import Liveness, begun_if_dead, read_liveness
from django_partisan.engine.manager.component import NEVER
from django_partisan.sql.leasing import OtherManager
from django_partisan.sql.rescuing import DeadManagers


class OtherManagers:
    """The other managers of a queue, as seen by a manager on ``host``; ``clock`` is the clock of leases."""

    def __init__(self, host: str, clock: Callable[[], float]) -> None:
        self._host = host
        self._clock = clock
        self._ignore_expiry_until = NEVER
        self._local: list[OtherManager] = []
        self._kept: Collection[UUID] = ()

    @property
    def are_watched(self) -> bool:
        """True if another manager of the queue runs on this host."""
        return bool(self._local)

    def note(self, others: list[OtherManager]) -> None:
        """Record the other managers that the last heartbeat found."""
        self._local = [other for other in others if other.host == self._host]

    def ignore_expiry_until(self, moment: float) -> None:
        """Consider no manager dead because of an expired lease before ``moment``, by the boot clock."""
        self._ignore_expiry_until = moment

    def has_any_died(self) -> bool:
        """Return whether a manager on this host has ended since the last heartbeat; this costs no query."""
        found = (read_liveness(other.lock_name) for other in self._local)
        return any(one is not None and not one.manager_lives for one in found)

    def find_dead(self, others: list[OtherManager], files: ExitStack) -> DeadManagers:
        """Return which of the other managers are dead.

        ``files`` keeps the presence files of dead managers locked, and removes them when it is closed.
        """
        self._kept = ()
        dead = DeadManagers([], [], [], [], [])
        ignores_expiry = self._clock() < self._ignore_expiry_until
        for other in others:
            liveness = self._liveness(other, files)
            if liveness is not None:
                dead.inspected.append(other.id)
                dead.begun.extend(liveness.begun)
                dead.running.extend(liveness.running)
            if liveness is not None and not liveness.manager_lives:
                dead.proven.append(other.id)
            elif other.is_expired and not ignores_expiry:
                dead.expired.append(other.id)
        return dead

    def keep_files_of(self, managers: Collection[UUID]) -> None:
        """Do not remove the presence files of these managers, because some of their tasks are not rescued."""
        self._kept = managers

    def are_missing(self, others: list[OtherManager], dead: DeadManagers) -> bool:
        """Return whether a manager holds tasks whose lease may have expired only because of an outage."""
        return any(other.is_expired and other.has_tasks and other.id not in dead.proven for other in others)

    def _liveness(self, other: OtherManager, files: ExitStack) -> Liveness | None:
        if other.host != self._host:
            return None
        begun = files.enter_context(begun_if_dead(other.lock_name, lambda: other.id not in self._kept))
        if begun is not None:
            return Liveness(manager_lives=False, running=[], begun=begun)
        return read_liveness(other.lock_name)
