"""Events of managers, and of any process that reports its stacks."""

from typing import NamedTuple


class ManagerStarted(NamedTuple):
    queue: str
    workers: int
    version: str
    metrics_address: str | None


class ManagerDraining(NamedTuple):
    queue: str
    signal: str | None
    in_progress: int


class ManagerStopped(NamedTuple):
    queue: str
    seconds: float
    released: int
    unfinished: tuple[int, ...]


class CodeReplaced(NamedTuple):
    """A new worker runs another version of the library than its manager; the manager drains."""

    queue: str
    worker_version: str
    worker_protocol: int
    manager_version: str
    manager_protocol: int


class ProcessorsIgnored(NamedTuple):
    """Workers have registered more than ``limit`` processors that the manager does not have; emitted once."""

    queue: str
    limit: int


class ThreadStack(NamedTuple):
    """The current stack of a thread of this process, as one line, innermost call first."""

    thread: str
    stack: str


class LeaseLost(NamedTuple):
    queue: str
    seconds_since_heartbeat: float
    held: int


class DatabaseRestored(NamedTuple):
    queue: str
    failures: int
    seconds: float
