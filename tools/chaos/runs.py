"""Check that no task ran twice at the same time, too early, or again without need.

A run may overlap with one of another manager only if its own manager could not renew its lease until the
lease expired, because it alone was stopped or cut off from the database. A period in which no manager reached
the database is not enough.
"""

from collections.abc import Iterator

from django_partisan.engine.manager.outage import PAUSE_AT_MOST_SECONDS, PAUSE_SECONDS

from .evidence import Evidence, Gap, Run
from .kinds import KINDS, POSTPONE_SECONDS
from .violation import Violation

HEARTBEATS_PER_LEASE = 3
MARGIN_SECONDS = 0.5
REPORT_SECONDS = 1.0
"""How long it may take to write an outcome if no fault interferes."""
LONGEST_PAUSE_SECONDS = PAUSE_AT_MOST_SECONDS + PAUSE_SECONDS
"""The longest pause of a manager between two attempts to reach the database."""
CLOCK_SECONDS = 0.05


def no_overlap_inside_a_lease(evidence: Evidence) -> Iterator[Violation]:
    """Check that runs of a task overlap only if the lease of the first run's manager expired."""
    for runs in evidence.runs_by_id().values():
        for place, first in enumerate(runs):
            for second in runs[place + 1 :]:
                seconds = evidence.end_of(first) - second.begun
                if seconds <= 0:
                    continue
                if first.manager != second.manager and lease_expired(evidence, first, second.begun):
                    continue
                text = (
                    f"a run of manager {second.manager} began {seconds:.3f} s before the end of"
                    f" one of manager {first.manager}"
                )
                yield Violation("no overlap", text, first.key)


def no_run_is_too_early(evidence: Evidence) -> Iterator[Violation]:
    """Check that no scheduled task runs before it is due, and no postponed one before its delay is over."""
    due = {one.key: one.due for one in evidence.enqueued if one.due is not None}
    for run in evidence.runs:
        if (at := due.get(run.key)) is not None and run.clock < at - CLOCK_SECONDS:
            yield Violation("not too early", f"ran {at - run.clock:.3f} s before it was due", run.key)
    for runs in evidence.runs_by_id().values():
        for run in runs:
            asked = [
                one.ended
                for one in runs
                if one.how == "postponed" and one.ended and one.postpones == run.postpones - 1
            ]
            if asked and run.begun < min(asked) + POSTPONE_SECONDS - CLOCK_SECONDS:
                yield Violation("not too early", "ran before the delay of its postpone was over", run.key)


def no_run_is_repeated_without_need(evidence: Evidence) -> Iterator[Violation]:
    """Check that a run is repeated only if its outcome may have been lost with a process or a lease."""
    atomic = {one.key for one in evidence.enqueued if KINDS[one.kind].is_atomic}
    for runs in evidence.runs_by_id().values():
        for place, run in enumerate(runs):
            if run.ended is None or _may_be_lost(evidence, run):
                continue
            again = [
                other
                for other in runs[place + 1 :]
                if (other.postpones, other.retries) == (run.postpones, run.retries)
                and other.begun >= run.ended
            ]
            if again and run.key not in atomic:
                seconds = again[0].begun - run.ended
                where = f"manager {again[0].manager}"
                text = f"{run.how} in manager {run.manager}, and ran again {seconds:.3f} s later in {where}"
                yield Violation("no needless run", text, run.key)


def lease_expired(evidence: Evidence, run: Run, at: float) -> bool:
    """Return whether a run's manager may have lost its lease between the run's start and a given time."""
    shortest = _shortest_gap(evidence)
    return any(
        gap.ended_at - gap.began_at >= shortest
        and at >= gap.began_at + shortest
        and run.begun <= gap.ended_at + MARGIN_SECONDS
        for gap in gaps_of(evidence, run.manager)
    )


def gaps_of(evidence: Evidence, manager: int) -> list[Gap]:
    """Return when a manager could not renew its lease: its own gaps and those of all managers.

    Gaps are merged if there is hardly time for a heartbeat between them.
    """
    between = evidence.lease_seconds / HEARTBEATS_PER_LEASE + 2 * MARGIN_SECONDS
    merged: list[Gap] = []
    for gap in sorted(evidence.gaps, key=lambda one: one.began_at):
        if gap.manager not in (None, manager):
            continue
        last = merged[-1] if merged else None
        if last is not None and gap.began_at - last.ended_at <= between:
            owner = manager if manager in (last.manager, gap.manager) else None
            merged[-1] = Gap(last.began_at, max(last.ended_at, gap.ended_at), owner)
        else:
            merged.append(gap)
    return [gap for gap in merged if gap.manager == manager]


def _shortest_gap(evidence: Evidence) -> float:
    """Return the shortest gap in which a lease can expire: it begins just before a heartbeat."""
    return evidence.lease_seconds * (1 - 1 / HEARTBEATS_PER_LEASE) - MARGIN_SECONDS


def _may_be_lost(evidence: Evidence, run: Run) -> bool:
    ended = run.ended or run.begun
    until = _written_until(evidence, run)
    deaths = [
        evidence.killed.get(run.pid),
        evidence.killed.get(run.manager),
        evidence.manager_ends.get(run.manager),
    ]
    if any(at is not None and run.begun <= at <= until for at in deaths):
        return True
    if run.manager in evidence.forced:
        return True
    before = evidence.lease_seconds + REPORT_SECONDS
    return any(
        gap.ended_at - gap.began_at >= _shortest_gap(evidence)
        and gap.began_at <= ended + REPORT_SECONDS
        and gap.ended_at + before >= run.begun
        for gap in gaps_of(evidence, run.manager)
    )


def _written_until(evidence: Evidence, run: Run) -> float:
    """Return the time by which the outcome of a run was certainly written, unless its manager had died.

    Writing is repeated after each period without a database and after each lost statement.
    """
    until = (run.ended or run.begun) + REPORT_SECONDS
    held_up = [
        Gap(gap.began_at, gap.ended_at + LONGEST_PAUSE_SECONDS, gap.manager) for gap in evidence.gaps
    ] + evidence.delays
    for gap in sorted(held_up, key=lambda one: one.began_at):
        is_its_own = gap.manager in (None, run.manager)
        if is_its_own and gap.began_at <= until and gap.ended_at >= run.begun - REPORT_SECONDS:
            until = max(until, gap.ended_at + REPORT_SECONDS)
    return until
