"""Check that the counters in the rows agree with the journal.

A settled run counts as one attempt. A run that was interrupted by its worker's death counts as one attempt
and one crash, once. Tasks that a dead worker or manager had not started, and runs that a forced stop ended,
do not count. The journal is incomplete: a run may have begun for the engine before it wrote its line, and a
run that ended may have been lost with its worker before the report. A run of an atomic task that found no
database for its transaction is retried without a line. So the number of crashes has a lower and an upper
bound.
"""

from collections.abc import Iterator

from .ends import ENDED
from .evidence import Evidence, Row, Run
from .kinds import KINDS
from .runs import gaps_of
from .violation import Violation

UNSEEN_BEGINS = 1
"""How many crashes of a trial may have no run in the journal, because they happened before its line."""
SETTLE_SECONDS = 5.0
"""How long a manager must live after a worker's death to have counted the crash for certain."""


def attempts_are_the_sum(evidence: Evidence) -> Iterator[Violation]:
    """Check that attempts are the sum of settled runs and crashes."""
    for row in evidence.rows:
        expected = 1 + row.postpones + row.retries + row.crashes
        if row.status in ENDED and row.attempts != expected:
            sum_ = f"1 + {row.postpones} postpones + {row.retries} retries + {row.crashes} crashes"
            text = f"attempts is {row.attempts}, not {sum_}"
            yield Violation("counters", text, row.key)


def crashes_are_no_more_than_lost_runs(evidence: Evidence) -> Iterator[Violation]:
    """Check that a run counts as at most one crash, and as none if it was settled."""
    runs = evidence.runs_by_id()
    unseen = 0
    for row in evidence.rows:
        if row.status not in ENDED:
            continue
        own = runs.get(row.id, [])
        lost = len(own) + _retries_without_a_line(row, own) - (1 + row.postpones + row.retries)
        excess = row.crashes - max(lost, 0)
        if excess <= 0:
            continue
        unseen += excess
        if unseen > UNSEEN_BEGINS:
            text = f"crashes is {row.crashes}, but only {lost} of its runs were not settled"
            yield Violation("counters", text, row.key)


def _retries_without_a_line(row: Row, runs: list[Run]) -> int:
    if not KINDS[row.kind].is_atomic:
        return 0
    return min(row.retries, row.attempts - len({run.attempt for run in runs}))


def cut_runs_count_a_crash(evidence: Evidence) -> Iterator[Violation]:
    """Check that a run counts as a crash if its worker was killed and its manager stayed alive."""
    runs = evidence.runs_by_id()
    for row in evidence.rows:
        certain = [run for run in runs.get(row.id, ()) if _is_surely_a_crash(evidence, run)]
        if row.status in ENDED and row.crashes < len(certain):
            text = f"crashes is {row.crashes}, but {len(certain)} of its runs ended with their worker"
            yield Violation("counters", text, row.key)


def _is_surely_a_crash(evidence: Evidence, run: Run) -> bool:
    at = evidence.killed.get(run.pid)
    if run.ended is not None or at is None or at < run.begun or run.manager in evidence.forced:
        return False
    killed = evidence.killed.get(run.manager)
    all_gaps = sum(gap.ended_at - gap.began_at for gap in evidence.gaps)
    if killed is not None and killed < at + SETTLE_SECONDS + all_gaps:
        return False
    return not any(
        gap.began_at <= at + SETTLE_SECONDS and gap.ended_at >= run.begun - evidence.lease_seconds
        for gap in gaps_of(evidence, run.manager)
    )
