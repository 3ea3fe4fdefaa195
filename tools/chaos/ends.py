"""Check that committed tasks ended as they should, exactly once, and that rolled back ones left no trace."""

from collections import Counter
from collections.abc import Iterator

from .evidence import COMMITTED, ROLLED_BACK, UNKNOWN, Evidence, Row
from .kinds import ERROR, FINISHED, KINDS
from .violation import Violation

ENDED = (FINISHED, ERROR)


def rows_are_at_their_right_end(evidence: Evidence) -> Iterator[Violation]:
    """Check that every row has the end state of its kind."""
    for row in evidence.rows:
        if row.status not in ENDED:
            yield Violation("stuck", f"the row is still {row.status!r}", row.key)
        elif complaint := _wrong(row):
            yield Violation("right end", complaint, row.key)
        elif row.status == FINISHED and evidence.deletes:
            yield Violation("right end", "completed, but its row was not deleted", row.key)


def _wrong(row: Row) -> str | None:
    expected = KINDS[row.kind].end(row.amount)
    pairs = {
        "status": (row.status, expected.status),
        "reason": (row.reason, expected.reason),
        "postpones": (row.postpones, expected.postpones),
        "retries": (row.retries, expected.retries),
    }
    if row.status == FINISHED or expected.retries is None:
        pairs.pop("reason" if row.status == FINISHED else "retries")  # finished rows keep their last error's
    wrong = [
        f"{name} is {is_now!r}, not {should_be!r}"
        for name, (is_now, should_be) in pairs.items()
        if is_now != should_be and not (name in ("postpones", "retries") and should_be is None)
    ]
    return ", ".join(wrong) or None


def committed_tasks_exist_once(evidence: Evidence) -> Iterator[Violation]:
    """Check that every committed task has exactly one row, or has completed and was deleted."""
    rows = evidence.rows_by_key()
    completed = {run.key for run in evidence.runs if run.how == "completed"}
    seen = {run.key for run in evidence.runs} | rows.keys()
    for one in evidence.enqueued:
        if KINDS[one.kind].is_unique or one.verdict == ROLLED_BACK:
            continue
        if one.verdict == UNKNOWN and one.key not in seen:
            continue
        there = len(rows.get(one.key, ()))
        deleted = evidence.deletes and KINDS[one.kind].end(one.amount).status == FINISHED
        if there > 1:
            yield Violation("exists once", f"has {there} rows", one.key)
        elif there == 0 and not (deleted and one.key in completed):
            yield Violation("exists once", "was committed, and has no row and no completed run", one.key)


def nothing_rolled_back_left_a_trace(evidence: Evidence) -> Iterator[Violation]:
    """Check that a task that was rolled back has no row and never ran."""
    rows = evidence.rows_by_key()
    ran = {run.key for run in evidence.runs}
    for one in evidence.enqueued:
        if one.verdict == ROLLED_BACK and not KINDS[one.kind].is_unique:
            if one.key in ran:
                yield Violation("rolled back", "was rolled back, and ran", one.key)
            elif one.key in rows:
                yield Violation("rolled back", "was rolled back, and has a row", one.key)


def duplicates_are_followed_by_a_run(evidence: Evidence) -> Iterator[Violation]:
    """Check that after each committed `delay()` of a unique task, a run begins that sees its data."""
    runs = evidence.runs_by_id()
    for one in evidence.enqueued:
        if KINDS[one.kind].is_unique and one.verdict == COMMITTED and one.id is not None:
            later = [run for run in runs.get(one.id, ()) if run.begun >= one.began_at]
            if not any(run.how == "completed" for run in later):
                text = f"delay() returned task {one.id}, and no run of it that began later completed"
                yield Violation("duplicates", text, one.key)


def ended_tasks_have_run(evidence: Evidence) -> Iterator[Violation]:
    """Check that the journal has a run with the outcome and the counts of each row."""
    runs = evidence.runs_by_id()
    for row in evidence.rows:
        ended = [run for run in runs.get(row.id, ()) if run.ended is not None]
        last = [run for run in ended if (run.postpones, run.retries) == (row.postpones, row.retries)]
        if row.status == FINISHED and not any(run.how == "completed" for run in last):
            yield Violation("has run", "is finished, and no run with its counts completed", row.key)
        if row.status == ERROR and not any(run.how != "completed" for run in last):
            yield Violation("has run", "has failed, and no run with its counts did", row.key)


def atomic_effects_are_kept_once(evidence: Evidence) -> Iterator[Violation]:
    """Check that a completed atomic task has exactly one effect; any other has none."""
    effects = Counter(key for key, _ in evidence.effects)
    rows = evidence.rows_by_key()
    kinds = {one.key: one.kind for one in evidence.enqueued if KINDS[one.kind].is_atomic}
    completed = {run.key for run in evidence.runs if run.how == "completed"}
    for key in kinds:
        row = rows[key][0] if key in rows else None
        is_completed = row.status == FINISHED if row else evidence.deletes and key in completed
        if effects[key] != int(is_completed):
            state = row.status if row else "deleted" if is_completed else "missing"
            yield Violation("atomic", f"is {state}, and {effects[key]} of its writes were kept", key)
