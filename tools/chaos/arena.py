"""The parts of a trial that faults can hit, and a record of the injected faults."""

import subprocess
import threading
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field

from tools import postgres

from . import journal
from .conversation import Loss
from .evidence import Gap
from .plan import PlannedFault
from .pooler import Pooler
from .processes import ManagerProcess, ManagerSlot, Supervisor
from .proxy import Proxy, Route

RECONNECT_SECONDS = 1.0
"""How long a manager may need to reconnect."""


@dataclass
class Record:
    """A record of the injection. Many threads write to it, each to its own list or key."""

    happened: Counter[str] = field(default_factory=Counter)
    missed: Counter[str] = field(default_factory=Counter)
    notes: list[str] = field(default_factory=list)
    killed: dict[int, float] = field(default_factory=dict)
    forced: set[int] = field(default_factory=set)
    gaps: list[Gap] = field(default_factory=list)
    delays: list[Gap] = field(default_factory=list)


@dataclass
class Enqueuers:
    """The processes that enqueue."""

    processes: list[subprocess.Popen[bytes]]

    def are_running(self) -> bool:
        """Return whether any of them still runs."""
        return any(process.poll() is None for process in self.processes)

    def destroy(self) -> None:
        """Kill those that hang. Whether their last transactions were committed is unknown."""
        for process in self.processes:
            process.kill()
            process.wait()


@dataclass
class Arena:
    """The parts of one trial."""

    server: postgres.Server
    proxy: Proxy
    routes: list[Route]
    """The route of each slot of the supervisor, in the same order."""
    enqueuer_route: Route
    supervisor: Supervisor
    enqueuers: Enqueuers
    pooler: Pooler | None
    record: Record
    losses: list[tuple[PlannedFault, Loss]] = field(default_factory=list)
    server_is_busy: threading.Lock = field(default_factory=threading.Lock)

    def manager(self, fault: PlannedFault) -> ManagerProcess | None:
        """Return the manager that is the target of a fault, if it is alive."""
        return self.slot(fault).current

    @contextmanager
    def cut_off(
        self, managers: Callable[[], list[ManagerProcess]] | None, after_seconds: float = RECONNECT_SECONDS
    ) -> Iterator[None]:
        """Note that managers (all, if `None`) cannot renew their leases in the block, and a little longer.

        ``managers`` is called at the end, because new managers may have taken their slots.
        """
        began_at = journal.now()
        try:
            yield
        finally:
            self.note_gap(managers, began_at, journal.now() + after_seconds)

    def note_gap(
        self, managers: Callable[[], list[ManagerProcess]] | None, began_at: float, ended_at: float
    ) -> None:
        """Note a period in which managers (all, if `None`) could not renew their leases.

        Dead managers are included, because workers of them may still be alive and are cut off as well.
        """
        pids = [None] if managers is None else [manager.pid for manager in managers()]
        self.record.gaps.extend(Gap(began_at, ended_at, pid) for pid in pids)

    def slot(self, fault: PlannedFault) -> ManagerSlot:
        """Return the slot that is the target of a fault."""
        return self.supervisor.slots[fault.number]

    def route(self, fault: PlannedFault) -> Route:
        """Return the route to the database of the manager that is the target of a fault."""
        return self.routes[fault.number]
