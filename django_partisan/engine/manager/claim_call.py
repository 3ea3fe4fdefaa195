"""One claim, as a call for a database thread."""

import time
from collections.abc import Sequence
from typing import Any
from uuid import UUID

from django.db.backends.base.base import BaseDatabaseWrapper

from django_partisan.engine import boot_clock
from django_partisan.sql import claiming
from django_partisan.sql.claiming import TaskRow


class ClaimCall:
    """A claim with the arguments of ``claiming.claim()``; it records when it was sent.

    With ``checks_connection``, Django closes the connection first if it is unusable. ``now`` is the monotonic
    time at which the call is created.
    """

    def __init__(
        self,
        queue: str,
        manager: UUID,
        token: int,
        limit: int,
        behind: tuple[int, int] | None,
        without: Sequence[str],
        checks_connection: bool,
        now: float,
    ) -> None:
        self.token = token
        self.limit = limit
        self.is_from_start = behind is None
        self.arguments: dict[str, Any] = {
            "queue": queue,
            "manager": manager,
            "token": token,
            "limit": limit,
            "behind": behind,
            "without": without,
        }
        self._checks_connection = checks_connection
        self.sent_at = now
        """When it was sent; until then, when it was created."""
        self.sent_boot_at = boot_clock.now()
        """The same moment by the boot clock, which leases and expiries use."""

    def __call__(self, connection: BaseDatabaseWrapper) -> list[TaskRow]:
        """Claim over a connection."""
        if self._checks_connection:
            connection.close_if_unusable_or_obsolete()
        self.sent_at, self.sent_boot_at = time.monotonic(), boot_clock.now()
        return claiming.claim(connection, **self.arguments)
