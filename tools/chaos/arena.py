"""What runs in a trial and can be broken, and the record of what was broken when."""

import subprocess
import threading
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field

from tools import postgres

from . import journal
from .conversation import Loss
from .evidence import Gap
from .plan import PlannedFault
from .pooler import Pooler
from .processes import Fleet, ManagerProcess
from .proxy import Proxy, Route


@dataclass
class Record:
    """What the injection did; it is written by many threads, each to a list or a key of its own."""

    happened: Counter[str] = field(default_factory=Counter)
    missed: Counter[str] = field(default_factory=Counter)
    notes: list[str] = field(default_factory=list)
    killed: dict[int, float] = field(default_factory=dict)
    forced: set[int] = field(default_factory=set)
    gaps: list[Gap] = field(default_factory=list)

    @contextmanager
    def gap(self, manager: ManagerProcess | None = None, after_seconds: float = 0.0) -> Iterator[None]:
        """Note that a manager (all, if `None`) cannot renew its lease meanwhile, and a little longer."""
        began_at = journal.now()
        try:
            yield
        finally:
            ended_at = journal.now() + after_seconds
            self.gaps.append(Gap(began_at, ended_at, None if manager is None else manager.pid))


@dataclass
class Enqueuers:
    """The processes that enqueue."""

    processes: list[subprocess.Popen[bytes]]

    def are_running(self) -> bool:
        """Return whether one of them still runs."""
        return any(process.poll() is None for process in self.processes)

    def destroy(self) -> None:
        """End those that hang; what they had not committed surely is unknown."""
        for process in self.processes:
            process.kill()
            process.wait()


@dataclass
class Arena:
    """The parts of one trial."""

    server: postgres.Server
    proxy: Proxy
    routes: list[Route]
    """One for each seat of the fleet, in its order."""
    enqueuer_route: Route
    fleet: Fleet
    enqueuers: Enqueuers
    pooler: Pooler | None
    record: Record
    losses: list[tuple[PlannedFault, Loss]] = field(default_factory=list)
    server_is_busy: threading.Lock = field(default_factory=threading.Lock)

    def manager(self, fault: PlannedFault) -> ManagerProcess | None:
        """Return the manager at whom a fault is aimed, if one lives on that seat."""
        return self.fleet.seats[fault.number].current

    def route(self, fault: PlannedFault) -> Route:
        """Return the way to the database of the manager at whom a fault is aimed."""
        return self.routes[fault.number]
