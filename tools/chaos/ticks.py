"""Check that each tick of a schedule is enqueued and counted once, and that its task has run.

The row of a schedule counts its ticks by outcome. Ticks have a fixed interval, so their number follows from
the first and the last one, whatever faults happened. The tasks are known from their rows, or from the journal
if completed rows are deleted.
"""

from collections.abc import Iterator
from itertools import pairwise

from django_partisan.schedules.tick_record import ENQUEUED

from . import schedules
from .ends import ENDED
from .evidence import Evidence, ScheduleRow, TickRow, TickRun
from .kinds import FINISHED
from .violation import Violation

LATE_SECONDS = 5.0
"""How late a tick may be when no faults are injected."""
STUCK_SECONDS = 2 * schedules.REST_SECONDS
"""How long a task may have waited when the managers were asked to stop; without faults it ends sooner."""


def no_tick_is_enqueued_twice(evidence: Evidence) -> Iterator[Violation]:
    """Check that a tick has exactly one task, however often that task ran."""
    tasks: dict[tuple[str, float], set[int]] = {}
    for (schedule, id_), moments in _tasks(evidence).items():
        if len(moments) > 1:
            yield Violation("ticks", f"{schedule}: task {id_} is that of {sorted(moments)}")
        for moment in moments:
            tasks.setdefault((schedule, moment), set()).add(id_)
    for (schedule, moment), ids in tasks.items():
        if len(ids) > 1:
            yield Violation("ticks", f"{schedule}: {len(ids)} tasks for {moment:.0f}: {sorted(ids)}")


def ticks_add_up(evidence: Evidence) -> Iterator[Violation]:
    """Check that all schedules ticked until the managers were asked to stop, with one outcome per tick."""
    for name in schedules.SCHEDULES.keys() - {row.name for row in evidence.schedules}:
        yield Violation("ticks", f"{name} has no row")
    tasks = _tasks(evidence)
    for row in evidence.schedules:
        own = {id_: moments for (name, id_), moments in tasks.items() if name == row.name}
        for text in _wrong_totals(row, own):
            yield Violation("ticks", f"{row.name}: {text}")


def _wrong_totals(row: ScheduleRow, tasks: dict[int, set[float]]) -> Iterator[str]:
    every = schedules.SECONDS[row.name]
    if row.late > LATE_SECONDS:
        yield f"it has not ticked for {row.late:.1f} s"
    enqueued = row.totals.get(ENQUEUED, 0)
    if len(tasks) != enqueued:
        yield f"it has {len(tasks)} tasks, but {row.totals}"
    last_at = row.defined_at if row.last_at is None else row.last_at
    expected = last_at // every - row.defined_at // every
    if sum(row.totals.values()) != expected:
        yield f"{row.totals} are not {expected:g} ticks"
    if schedules.is_catching_up(row.name) and enqueued != expected:
        yield f"only {enqueued} of {expected:g} ticks were enqueued, but it catches up"
    strange = {at for moments in tasks.values() for at in moments if at % every or not _is_in(row, at)}
    if strange:
        yield f"these moments are no ticks of it: {sorted(strange)}"


def _is_in(row: ScheduleRow, moment: float) -> bool:
    return row.last_at is not None and row.defined_at < moment <= row.last_at


def tasks_of_ticks_end(evidence: Evidence) -> Iterator[Violation]:
    """Check that the task of a tick runs, and completes."""
    completed = {run.id for run in evidence.ticks if run.how == "completed"}
    for row in evidence.tick_rows:
        name = f"{row.schedule}: task {row.id}"
        if row.status not in ENDED and row.waited > STUCK_SECONDS:
            yield Violation("ticks", f"{name} was still {row.status!r} after {row.waited:.1f} s")
        elif row.status in ENDED and row.status != FINISHED:
            yield Violation("ticks", f"{name} has status {row.status!r}")
        elif row.status == FINISHED and row.id not in completed:
            yield Violation("ticks", f"{name} is finished, and no run of it completed")


def tasks_without_overlap_follow_each_other(evidence: Evidence) -> Iterator[Violation]:
    """Check that without overlap, a task first runs after a run of the previous one has completed."""
    for name in schedules.SCHEDULES:
        if schedules.is_overlapping(name):
            continue
        begun: dict[int, float] = {}
        completed: dict[int, float] = {}
        for run in sorted(evidence.ticks, key=lambda one: one.begun):
            if run.schedule == name:
                begun.setdefault(run.id, run.begun)
                if run.ended is not None and run.how == "completed":
                    completed[run.id] = min(run.ended, completed.get(run.id, run.ended))
        for before, after in pairwise(begun):
            if completed.get(before, float("inf")) > begun[after]:
                yield Violation("ticks", f"{name}: task {after} ran before task {before} had completed")


def _tasks(evidence: Evidence) -> dict[tuple[str, int], set[float]]:
    """Return the times of each task's ticks, by schedule and id. There should be one per task."""
    found: dict[tuple[str, int], set[float]] = {}
    both: list[TickRun | TickRow] = [*evidence.ticks, *evidence.tick_rows]
    for one in both:
        found.setdefault((one.schedule, one.id), set()).add(one.scheduled_for)
    return found
