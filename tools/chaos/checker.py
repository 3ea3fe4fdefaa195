"""Check all guarantees against the evidence of a trial."""

from collections.abc import Callable, Iterator

from . import counters, ends, runs, ticks
from .evidence import COMMITTED, Evidence
from .violation import Violation


def nothing_is_left_over(evidence: Evidence) -> Iterator[Violation]:
    """Check that every manager stopped on request and left no process, row, file or connection behind."""
    for text in evidence.leftovers:
        yield Violation("nothing left over", text)


def something_has_happened(evidence: Evidence) -> Iterator[Violation]:
    """Check that at least one task was committed; otherwise the trial proves nothing."""
    if not any(one.verdict == COMMITTED for one in evidence.enqueued):
        yield Violation("trial", "no task was committed: this machine is too busy, or the enqueuers fail")


PROMISES: tuple[Callable[[Evidence], Iterator[Violation]], ...] = (
    ends.rows_are_at_their_right_end,
    ends.committed_tasks_exist_once,
    ends.nothing_rolled_back_left_a_trace,
    ends.duplicates_are_followed_by_a_run,
    ends.ended_tasks_have_run,
    ends.atomic_effects_are_kept_once,
    runs.no_overlap_inside_a_lease,
    runs.no_run_is_too_early,
    runs.no_run_is_repeated_without_need,
    counters.attempts_are_the_sum,
    counters.crashes_are_no_more_than_lost_runs,
    counters.cut_runs_count_a_crash,
    ticks.no_tick_is_enqueued_twice,
    ticks.ticks_add_up,
    ticks.tasks_of_ticks_end,
    ticks.tasks_without_overlap_follow_each_other,
    nothing_is_left_over,
    something_has_happened,
)


def violations(evidence: Evidence) -> list[Violation]:
    """Return every broken guarantee."""
    return [found for promise in PROMISES for found in promise(evidence)]
