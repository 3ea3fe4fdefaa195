"""Make the plan of a seed: managers, their settings, and all faults with times and targets."""

import random
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

from .faults import FAULTS, MANAGER, POOLER, SERVER, FaultKind

HOSTS = ("alpha", "beta")
LEASES = (3.0, 5.0)
FIRST_FAULT_SECONDS = 1.0
FAULTS_PER_SECOND = 1.2
TIMES = (1, 1, 2, 5)
REST_SECONDS = 1.5
"""The pause between two lasting faults of a target. The end of the first would also end the second."""


@dataclass(frozen=True)
class ManagerPlan:
    """One manager: the name of its host, and how it connects to the database."""

    host: str
    pooling: str | None = None
    """The mode of PgBouncer, `session` or `transaction`; `None` without PgBouncer."""

    def queue_settings(self) -> dict[str, Any]:
        """Return the manager's own settings: LISTEN is useless with PgBouncer in transaction mode."""
        return {"LISTEN": False, "SLEEP_DELAY_SECONDS": 0.5} if self.pooling == "transaction" else {}


@dataclass(frozen=True)
class PlannedFault:
    """A fault: its start and duration in seconds of the trial, and its target."""

    at: float
    kind: str
    lasts: float = 0.0
    number: int = 0
    """The number of the manager or enqueuer, from 0."""
    choice: float = 0.0
    """The choice among several processes, from 0 to 1, as their number is not known in advance."""
    statement: str = ""
    times: int = 1
    """How many statements are lost."""

    def __str__(self) -> str:
        parts = [f"{self.at:6.2f} s  {self.kind}"]
        if FAULTS[self.kind].target not in (SERVER, POOLER):
            parts.append(f"of {self.number}")
        if self.statement:
            parts.append(f"of the next {self.times} x {self.statement}")
        if self.lasts:
            parts.append(f"for {self.lasts:.2f} s")
        return " ".join(parts)


@dataclass(frozen=True)
class Plan:
    """One trial."""

    seed: int
    seconds: float
    lease_seconds: float
    queue: dict[str, Any]
    managers: tuple[ManagerPlan, ...]
    enqueuers: int
    faults: tuple[PlannedFault, ...]

    @property
    def deletes(self) -> bool:
        """True if completed tasks are deleted."""
        return bool(self.queue["DELETE_TASKS_ON_COMPLETE"])

    def __str__(self) -> str:
        names = ", ".join(
            one.host + (f" (PgBouncer, {one.pooling})" if one.pooling else "") for one in self.managers
        )
        lines = [f"managers: {names}; enqueuers: {self.enqueuers}; queue: {self.queue}"]
        return "\n".join([*lines, *map(str, self.faults)])


def make_plan(
    seed: int,
    seconds: float,
    only: Sequence[str] = (),
    has_pooler: bool = True,
    rate: float = FAULTS_PER_SECOND,
    count: int | None = None,
) -> Plan:
    """Return the plan of a seed, with about ``rate`` faults per second.

    ``only`` names the kinds of faults to choose from (all, if empty), ``count`` is the number of managers
    (2 or 3 by the seed, if `None`).
    """
    choose = random.Random(seed)
    lease = choose.choice(LEASES)
    queue = {
        "WORKERS_COUNT": choose.choice((2, 3)),
        "LEASE_SECONDS": lease,
        "MIN_QUEUE_SIZE": choose.choice((2, 10)),
        "MAX_QUEUE_SIZE": choose.choice((10, 40, 1000)),
        "SLEEP_DELAY_SECONDS": 1.0,
        "DELETE_TASKS_ON_COMPLETE": choose.random() < 0.25,
        "TASKS_PER_WORKER_INSTANCE": choose.choice((None, 100)),
        "MAX_CRASHES": 1000,  # or faults, not the tasks, would decide how tasks end
    }
    hosts = [HOSTS[0], HOSTS[1], choose.choice(HOSTS)]
    chosen = choose.choice((2, 3))
    hosts = hosts[: chosen if count is None else count]
    pooling = choose.choice((None, None, "session", "transaction"))
    managers = tuple(
        ManagerPlan(host, pooling if number == 1 and has_pooler else None)
        for number, host in enumerate(hosts)
    )
    enqueuers = choose.choice((2, 3))
    kinds = [kind for name, kind in FAULTS.items() if not only or name in only]
    if all(one.pooling is None for one in managers):
        kinds = [kind for kind in kinds if kind.target != POOLER]
    faults = _choose_faults(choose, kinds, round(seconds * rate), seconds, lease, len(managers), enqueuers)
    return Plan(seed, seconds, lease, queue, managers, enqueuers, faults)


def _choose_faults(
    choose: random.Random,
    kinds: list[FaultKind],
    count: int,
    seconds: float,
    lease: float,
    managers: int,
    enqueuers: int,
) -> tuple[PlannedFault, ...]:
    if not kinds:
        return ()
    faults: list[PlannedFault] = []
    for _ in range(count):
        at = choose.uniform(FIRST_FAULT_SECONDS, seconds)
        kind = choose.choices(kinds, [one.weight for one in kinds])[0]
        lasts = choose.uniform(*kind.lasts) * lease
        number = choose.randrange(managers if kind.target == MANAGER else enqueuers)
        statement = choose.choice(kind.statements) if kind.statements else ""
        times = choose.choice(TIMES)
        faults.append(PlannedFault(at, kind.name, lasts, number, choose.random(), statement, times))
    return tuple(_without_overlaps(faults))


def _without_overlaps(faults: list[PlannedFault]) -> Iterator[PlannedFault]:
    """Yield the faults in order, without those that would overlap a lasting one of the same target."""
    free_at: dict[tuple[str, int], float] = {}
    for fault in sorted(faults, key=lambda one: one.at):
        kind = FAULTS[fault.kind]
        target = (SERVER, 0) if kind.target in (SERVER, POOLER) else (kind.target, fault.number)
        lasts_here = kind.target in (SERVER, POOLER) or (bool(fault.lasts) and not kind.statements)
        if lasts_here:
            if fault.at < free_at.get(target, 0.0):
                continue
            free_at[target] = fault.at + fault.lasts + REST_SECONDS
        yield fault
