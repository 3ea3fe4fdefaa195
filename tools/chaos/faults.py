"""The kinds of faults: their target, how often each is chosen, and how long it lasts."""

from dataclasses import dataclass

MANAGER = "manager"
"""One manager: its processes, or its connection to the database."""
ENQUEUERS = "enqueuers"
SERVER = "server"
POOLER = "pooler"

BRIEF = (0.1, 0.4)
"""Shorter than a lease, as fractions of its length."""
LONGER = (1.2, 2.0)
"""Longer than a lease, as multiples of its length."""

LOSSES = ("claim", "claim", "claim", "settle", "settle", "settle", "commit", "commit", "heartbeat",
          "rescue", "register")  # fmt: skip
"""The statements that can be lost; frequent ones are listed several times. See `wire.py`."""


@dataclass(frozen=True)
class FaultKind:
    """A kind of fault. ``lasts`` is the shortest and longest duration, relative to the length of a lease."""

    name: str
    target: str
    weight: int
    lasts: tuple[float, float] = (0.0, 0.0)
    statements: tuple[str, ...] = ()


_ALL = (
    # Processes end.
    FaultKind("kill_worker", MANAGER, 10),
    FaultKind("kill_fork_server", MANAGER, 3),
    FaultKind("kill_manager", MANAGER, 5),
    FaultKind("kill_host", MANAGER, 4),
    FaultKind("drain", MANAGER, 3),
    FaultKind("force_stop", MANAGER, 2),
    # Processes are stopped and resumed.
    FaultKind("stop_worker", MANAGER, 2, BRIEF),
    FaultKind("stop_worker_long", MANAGER, 2, LONGER),
    FaultKind("stop_fork_server", MANAGER, 1, BRIEF),
    FaultKind("stop_manager", MANAGER, 2, BRIEF),
    FaultKind("stop_manager_long", MANAGER, 2, LONGER),
    FaultKind("stop_host", MANAGER, 2, BRIEF),
    FaultKind("stop_host_long", MANAGER, 2, LONGER),
    # The network.
    FaultKind("reset", MANAGER, 4),
    FaultKind("refuse", MANAGER, 2, BRIEF),
    FaultKind("refuse_long", MANAGER, 1, LONGER),
    FaultKind("swallow", MANAGER, 2, BRIEF),
    FaultKind("swallow_long", MANAGER, 2, LONGER),
    FaultKind("half_open", MANAGER, 2),
    FaultKind("slow", MANAGER, 2, (0.2, 0.6)),
    FaultKind("lose_answer", MANAGER, 12, statements=LOSSES),
    FaultKind("lose_request", MANAGER, 4, statements=LOSSES),
    FaultKind("late_request", MANAGER, 6, (0.05, 0.5), statements=LOSSES),
    FaultKind("lose_enqueue_answer", ENQUEUERS, 4, statements=("commit", "enqueue")),
    FaultKind("reset_enqueuers", ENQUEUERS, 2),
    FaultKind("kill_enqueuer", ENQUEUERS, 2),
    # The server.
    FaultKind("restart_fast", SERVER, 2),
    FaultKind("restart_immediate", SERVER, 2),
    FaultKind("outage", SERVER, 1, BRIEF),
    FaultKind("outage_long", SERVER, 1, LONGER),
    FaultKind("end_backends", SERVER, 3),
    FaultKind("restart_pooler", POOLER, 2),
)

FAULTS = {kind.name: kind for kind in _ALL}
