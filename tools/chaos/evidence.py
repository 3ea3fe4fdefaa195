"""The evidence of a trial: everything that the checks need."""

from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Any

COMMITTED = "committed"
ROLLED_BACK = "rolled_back"
UNKNOWN = "unknown"
"""The answer to the commit was lost, or the enqueuer was killed."""


@dataclass(frozen=True)
class Enqueued:
    """A task that an enqueuer tried to enqueue. Only ``due`` is a time of the wall clock."""

    key: str
    kind: str
    amount: float
    verdict: str = COMMITTED
    id: int | None = None
    began_at: float = 0.0
    due: float | None = None


@dataclass(frozen=True)
class Run:
    """A run in the journal. A run without an end was interrupted."""

    nonce: str
    id: int
    key: str
    manager: int
    pid: int
    begun: float
    ended: float | None = None
    how: str | None = None
    attempt: int = 1
    postpones: int = 0
    retries: int = 0
    clock: float = 0.0


@dataclass(frozen=True)
class Row:
    """A task's row at the end."""

    id: int
    key: str
    kind: str
    amount: float
    status: str
    reason: str | None = None
    attempts: int = 1
    crashes: int = 0
    retries: int = 0
    postpones: int = 0


@dataclass(frozen=True)
class Gap:
    """A period in which a manager could not renew its lease; ``manager`` is `None` for all managers."""

    began_at: float
    ended_at: float
    manager: int | None = None


@dataclass(frozen=True)
class TickRun:
    """A run of a tick's task; the time of the tick is in seconds since 1970."""

    schedule: str
    scheduled_for: float
    id: int
    begun: float = 0.0
    ended: float | None = None
    how: str | None = None


@dataclass(frozen=True)
class TickRow:
    """The row of the task of a tick at the end."""

    schedule: str
    scheduled_for: float
    id: int
    status: str
    waited: float = 0.0
    """The age in seconds when the managers were asked to stop."""


@dataclass(frozen=True)
class ScheduleRow:
    """A schedule at the end; times are in seconds since 1970, by the server's clock."""

    name: str
    defined_at: float
    last_at: float | None
    totals: dict[str, int]
    late: float = 0.0
    """How long the next tick had been due when the managers were asked to stop, in seconds.

    Negative if it was not due yet, infinite if there is none.
    """


@dataclass
class Evidence:
    """The journals of enqueuers and workers, the final rows, and the times of the faults."""

    lease_seconds: float
    deletes: bool = False
    enqueued: list[Enqueued] = field(default_factory=list)
    runs: list[Run] = field(default_factory=list)
    rows: list[Row] = field(default_factory=list)
    effects: list[tuple[str, str]] = field(default_factory=list)
    """The key and run of each committed write of an atomic task."""
    killed: dict[int, float] = field(default_factory=dict)
    """The time when each process was killed, by process id."""
    manager_ends: dict[int, float] = field(default_factory=dict)
    forced: set[int] = field(default_factory=set)
    """Managers that were forced to stop."""
    gaps: list[Gap] = field(default_factory=list)
    delays: list[Gap] = field(default_factory=list)
    """Periods in which a manager kept its lease, but a lost statement may have delayed its outcomes."""
    leftovers: list[str] = field(default_factory=list)
    ticks: list[TickRun] = field(default_factory=list)
    tick_rows: list[TickRow] = field(default_factory=list)
    schedules: list[ScheduleRow] = field(default_factory=list)

    def runs_by_id(self) -> dict[int, list[Run]]:
        """Return the runs of each task, in the order in which they began."""
        found: dict[int, list[Run]] = {}
        for run in sorted(self.runs, key=lambda one: one.begun):
            found.setdefault(run.id, []).append(run)
        return found

    def rows_by_key(self) -> dict[str, list[Row]]:
        """Return the rows of each key."""
        found: dict[str, list[Row]] = {}
        for row in self.rows:
            found.setdefault(row.key, []).append(row)
        return found

    def end_of(self, run: Run) -> float:
        """Return when a run was certainly over, or when it began if that is unknown."""
        if run.ended is not None:
            return run.ended
        return max(run.begun, self.killed.get(run.pid, run.begun))


def runs_in(lines: Iterable[dict[str, Any]]) -> list[Run]:
    """Return the runs in the journal."""
    lines = list(lines)
    ends = {line["run"]: line for line in lines if line["what"] == "ended"}
    runs = []
    for line in lines:
        if line["what"] == "begun":
            end = ends.get(line["run"], {})
            runs.append(
                Run(
                    line["run"], line["id"], line["key"], line["manager"], line["pid"], line["at"],
                    end.get("at"), end.get("how"), line["attempt"], line["postpones"], line["retries"],
                    line["clock"],
                )
            )  # fmt: skip
    return runs


def ticks_in(lines: Iterable[dict[str, Any]]) -> list[TickRun]:
    """Return the runs of the tasks of ticks."""
    lines = list(lines)
    ends = {line["run"]: line for line in lines if line["what"] == "ended"}
    runs = []
    for line in lines:
        if line["what"] == "ticked":
            end = ends.get(line["run"], {})
            runs.append(
                TickRun(
                    line["schedule"], line["scheduled_for"], line["id"], line["at"], end.get("at"),
                    end.get("how"),
                )
            )  # fmt: skip
    return runs


def enqueued_in(lines: Iterable[dict[str, Any]], markers: set[str]) -> list[Enqueued]:
    """Return the enqueued tasks. If the answer to COMMIT was lost, the transaction's marker decides."""
    lines = list(lines)
    verdicts = {
        line["transaction"]: line for line in lines if line["what"] in (COMMITTED, ROLLED_BACK, UNKNOWN)
    }
    found = []
    for line in lines:
        if line["what"] != "enqueuing":
            continue
        verdict = verdicts.get(line["transaction"], {"what": UNKNOWN})
        what = verdict["what"]
        if what == UNKNOWN and not line["at_once"]:
            what = COMMITTED if line["transaction"] in markers else ROLLED_BACK
        ids = verdict.get("ids", [None] * len(line["tasks"]))
        for one, task_id in zip(line["tasks"], ids, strict=True):
            found.append(
                Enqueued(one["key"], one["kind"], one["amount"], what, task_id, line["at"], one["due"])
            )
    return found
