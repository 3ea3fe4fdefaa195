"""For each promise, some evidence breaks it and similar evidence does not."""

from dataclasses import replace
from typing import Any

from tools.chaos.checker import violations
from tools.chaos.evidence import (
    ROLLED_BACK,
    UNKNOWN,
    Enqueued,
    Evidence,
    Gap,
    Row,
    Run,
    ScheduleRow,
    TickRow,
    TickRun,
)
from tools.chaos.runs import LONGEST_PAUSE_SECONDS
from tools.chaos.schedules import (
    EVERY_MINUTE,
    EVERY_SECOND,
    EVERY_SECOND_ALL,
    EVERY_SECOND_ALONE,
    SCHEDULES,
)

LEASE = 6.0
FIRST, SECOND = 100, 200
"""Two managers."""


def run(begun: float, ended: float | None = None, **more: Any) -> Run:
    given: dict[str, Any] = {"nonce": f"{begun}", "id": 1, "key": "a", "manager": FIRST, "pid": FIRST + 1}
    how = None if ended is None else "completed"
    return Run(begun=begun, ended=ended, **{**given, "how": how, **more})


def row(kind: str = "Nap", status: str = "finished", **more: Any) -> Row:
    return Row(**{"id": 1, "key": "a", "kind": kind, "amount": 0, "status": status, **more})


def enqueued(kind: str = "Nap", **more: Any) -> Enqueued:
    return Enqueued(**{"key": "a", "kind": kind, "amount": 0, "id": 1, **more})


def schedules(*given: ScheduleRow) -> list[ScheduleRow]:
    """Return the rows of all schedules: the given ones, and the others without a tick."""
    named = {one.name for one in given}
    return [*given, *(ScheduleRow(name, 0.5, None, {}, -0.5) for name in SCHEDULES if name not in named)]


def evidence(**more: Any) -> Evidence:
    """Return the evidence of one task that was enqueued, ran once and completed, with ``more`` replaced."""
    usual: dict[str, Any] = {
        "enqueued": [enqueued()], "runs": [run(1.0, 2.0)], "rows": [row()], "schedules": schedules(),
    }  # fmt: skip
    return Evidence(lease_seconds=LEASE, **{**usual, **more})


def broken(given: Evidence) -> list[str]:
    return [found.promise for found in violations(given)]


def beside(given: Evidence) -> Evidence:
    """Return evidence with one more task that was enqueued, ran and completed."""
    other: dict[str, Any] = {"key": "other", "id": 99}
    return replace(
        given,
        enqueued=[*given.enqueued, enqueued(**other)],
        runs=[*given.runs, run(1.0, 2.0, pid=SECOND + 9, **other)],
        rows=[*given.rows, row(**other)],
    )


def killed_and_run_again(**more: Any) -> Evidence:
    return evidence(
        runs=[run(1.0), run(3.0, 4.0, pid=FIRST + 2)], rows=[row(attempts=2, crashes=1)],
        killed={FIRST + 1: 2.0}, **more,
    )  # fmt: skip


def test_task_that_ran_once_and_completed_breaks_nothing():
    assert broken(evidence()) == []


def test_task_that_is_never_settled_is_stuck():
    assert broken(evidence(rows=[row(status="in_process", attempts=0)])) == ["stuck"]
    assert broken(evidence(rows=[row(status="new", attempts=0)], runs=[])) == ["stuck"]


def test_wrong_status_breaks_the_right_end():
    failed = evidence(
        rows=[row(status="error", reason="worker_lost")], runs=[run(1.0, 2.0, how="ValueError")]
    )

    assert broken(failed) == ["right end"]


def test_limits_of_postpones_and_retries_hold():
    def postponed(times: int) -> Evidence:
        runs = [run(n, n + 0.5, postpones=n, how="postponed") for n in range(times + 1)]
        made = row(
            "Postponing", "error", amount=9, reason="max_postpones", postpones=times, attempts=times + 1
        )
        return evidence(enqueued=[enqueued("Postponing", amount=9)], runs=runs, rows=[made])

    def retried(times: int) -> Evidence:
        runs = [run(n, n + 0.5, retries=n, how="Refused") for n in range(times + 1)]
        made = row(
            "Retrying", "error", amount=9, reason="retries_exhausted", retries=times, attempts=times + 1
        )
        return evidence(enqueued=[enqueued("Retrying", amount=9)], runs=runs, rows=[made])

    assert [broken(postponed(times)) for times in (2, 3, 4)] == [["right end"], [], ["right end"]]
    assert [broken(retried(times)) for times in (1, 2, 3)] == [["right end"], [], ["right end"]]


def test_completed_row_that_should_be_deleted_is_at_the_wrong_end():
    assert broken(evidence(deletes=True)) == ["right end"]
    assert broken(evidence(deletes=True, rows=[])) == []


def test_committed_task_without_a_row_is_lost():
    assert broken(evidence(rows=[])) == ["exists once"]
    assert broken(evidence(rows=[], runs=[], deletes=True)) == ["exists once"]


def test_task_with_two_rows_was_enqueued_twice():
    rows = [row(), row(id=2)]

    assert broken(evidence(rows=rows, runs=[run(1.0, 2.0), run(1.0, 2.0, id=2)])) == ["exists once"]


def test_task_whose_commit_is_unknown_may_be_absent():
    unknown = [enqueued(verdict=UNKNOWN, id=None)]

    assert broken(beside(evidence(enqueued=unknown, rows=[], runs=[]))) == []
    assert broken(beside(evidence(enqueued=unknown, rows=[]))) == ["exists once"], (
        "it ran, so it was committed"
    )


def test_nothing_rolled_back_runs_or_has_a_row():
    rolled_back = [enqueued(verdict=ROLLED_BACK, id=None)]

    assert broken(beside(evidence(enqueued=rolled_back, rows=[], runs=[]))) == []
    assert broken(beside(evidence(enqueued=rolled_back, rows=[]))) == ["rolled back"]
    assert "rolled back" in broken(beside(evidence(enqueued=rolled_back, runs=[])))


def test_duplicate_is_followed_by_a_run_that_began_later():
    def unique(began_at: float) -> Evidence:
        return evidence(enqueued=[enqueued("Unique", began_at=began_at)], rows=[row("Unique")])

    assert broken(unique(0.5)) == []
    assert broken(unique(1.5)) == ["duplicates"]


def test_outcome_needs_a_run_that_had_it():
    assert broken(evidence(runs=[])) == ["has run"]
    assert broken(evidence(runs=[run(1.0, 2.0, how="ValueError")])) == ["has run"]
    failing = {"enqueued": [enqueued("Failing")], "rows": [row("Failing", "error", reason="error")]}
    assert broken(evidence(**failing)) == ["has run"]
    assert broken(evidence(**failing, runs=[run(1.0, 2.0, how="ValueError")])) == []


def test_effects_of_an_atomic_task_are_kept_exactly_once():
    atomic: dict[str, Any] = {"enqueued": [enqueued("AtomicCompleting")], "rows": [row("AtomicCompleting")]}

    assert broken(evidence(**atomic)) == ["atomic"]
    assert broken(evidence(**atomic, effects=[("a", "r")])) == []
    assert broken(evidence(**atomic, effects=[("a", "r"), ("a", "s")])) == ["atomic"]


def test_failed_atomic_task_keeps_no_effect():
    failed: dict[str, Any] = {
        "enqueued": [enqueued("AtomicFailing")],
        "rows": [row("AtomicFailing", "error", reason="error")],
        "runs": [run(1.0, 2.0, how="ValueError")],
    }

    assert broken(evidence(**failed)) == []
    assert broken(evidence(**failed, effects=[("a", "r")])) == ["atomic"]


def overlapping(gaps: list[Gap], second: int = SECOND) -> Evidence:
    """Return evidence in which one run began 9 s after another one, which had not ended."""
    return evidence(runs=[run(1.0, 20.0), run(10.0, 11.0, manager=second, pid=second + 5)], gaps=gaps)


def test_overlap_inside_a_lease_is_found():
    assert broken(overlapping([])) == ["no overlap"]
    assert broken(overlapping([Gap(2.0, 4.0, FIRST)])) == ["no overlap"], "shorter than the lease"
    assert broken(overlapping([Gap(9.0, 19.0, FIRST)])) == ["no overlap"], "began just before"
    assert broken(overlapping([Gap(2.0, 9.5, SECOND)])) == ["no overlap"], "of the other manager"


def test_overlap_after_the_manager_lost_its_lease_alone_is_allowed():
    assert broken(overlapping([Gap(2.0, 9.5, FIRST)])) == []


def test_outage_of_all_managers_excuses_no_overlap():
    assert broken(overlapping([Gap(2.0, 9.5)])) == ["no overlap"]
    assert broken(overlapping([Gap(2.0, 5.0), Gap(5.0, 9.5, FIRST)])) == [], "it went on for one alone"


def test_overlap_in_one_manager_is_never_allowed():
    assert broken(overlapping([Gap(2.0, 9.5, FIRST)], second=FIRST)) == ["no overlap"]


def test_run_that_began_after_the_lease_was_back_may_not_be_overlapped():
    assert broken(overlapping([Gap(-9.0, -1.0, FIRST)])) == ["no overlap"]


def test_run_of_a_killed_worker_is_over_with_its_worker():
    assert broken(killed_and_run_again()) == []
    early = replace(killed_and_run_again(), killed={FIRST + 1: 3.5})
    assert "no overlap" in broken(early)


def test_scheduled_task_does_not_run_before_it_is_due():
    due = [enqueued(due=1_000.0)]

    assert broken(evidence(enqueued=due, runs=[run(1.0, 2.0, clock=1_000.0)])) == []
    assert broken(evidence(enqueued=due, runs=[run(1.0, 2.0, clock=999.0)])) == ["not too early"]


def test_postponed_task_does_not_run_before_its_delay_is_over():
    def postponed(again_at: float) -> Evidence:
        runs = [run(1.0, 2.0, how="postponed"), run(again_at, 9.0, postpones=1)]
        rows = [row("Postponing", amount=1, postpones=1, attempts=2)]
        return evidence(enqueued=[enqueued("Postponing", amount=1)], runs=runs, rows=rows)

    assert broken(postponed(2.2)) == []
    assert broken(postponed(2.05)) == ["not too early"]


def repeated(**more: Any) -> Evidence:
    return evidence(runs=[run(1.0, 2.0), run(3.0, 4.0, manager=SECOND, pid=SECOND + 1)], **more)


def test_run_that_ended_is_not_repeated_without_need():
    assert broken(repeated()) == ["no needless run"]
    assert broken(repeated(killed={FIRST + 1: 2.1})) == [], "its worker died before it could report"
    assert broken(repeated(killed={FIRST: 2.1})) == [], "its manager died before it could settle"
    assert broken(repeated(killed={FIRST: 3.5})) == ["no needless run"], "it had time to settle"
    assert broken(repeated(killed={FIRST: 3.5}, gaps=[Gap(1.5, 3.0)])) == [], "without a database"
    assert broken(repeated(gaps=[Gap(0.0, 9.0, FIRST)])) == [], "the lease was lost"


def test_outcome_waits_while_statements_of_its_manager_are_lost():
    def killed(at: float, *lost_at: float, manager: int = FIRST) -> Evidence:
        delays = [Gap(lost, lost + LONGEST_PAUSE_SECONDS, manager) for lost in lost_at]
        return evidence(
            runs=[run(1.0, 2.0), run(20.0, 21.0, manager=SECOND, pid=SECOND + 1)],
            killed={FIRST: at}, delays=delays,
        )  # fmt: skip

    assert broken(killed(6.5, 2.5)) == [], "it was to be written again after a pause"
    assert broken(killed(9.0, 2.5)) == ["no needless run"], "it had time to settle"
    assert broken(killed(9.0, 2.5, 5.0)) == [], "it was lost again"
    assert broken(killed(6.5, 2.5, manager=SECOND)) == ["no needless run"], "of the other manager"


def test_run_of_an_atomic_task_may_be_repeated_also_if_its_row_was_deleted():
    def deleted(kind: str) -> Evidence:
        given = repeated(enqueued=[enqueued(kind)], rows=[], deletes=True)
        return replace(given, effects=[("a", "r")] if kind == "AtomicCompleting" else [])

    assert broken(deleted("AtomicCompleting")) == []
    assert broken(deleted("Nap")) == ["no needless run"]


def test_attempts_are_settled_runs_and_crashes():
    assert broken(evidence(rows=[row(attempts=2)])) == ["counters"]
    assert broken(evidence(rows=[row(attempts=0)])) == ["counters"]


def test_crash_is_counted_once():
    once, twice = row(attempts=2, crashes=1), row(attempts=3, crashes=2)
    given = killed_and_run_again()

    assert broken(replace(given, rows=[once])) == []
    assert broken(replace(given, rows=[replace(twice, attempts=4, crashes=3)])) == ["counters"]
    assert broken(replace(given, rows=[row()])) == ["counters"], "a run ended with its worker"


def test_one_crash_of_a_trial_may_have_no_line_in_the_journal():
    def without_lines(tasks: int) -> Evidence:
        numbers = range(tasks)
        return evidence(
            enqueued=[enqueued(key=str(n), id=n) for n in numbers],
            runs=[run(1.0, 2.0, key=str(n), id=n) for n in numbers],
            rows=[row(key=str(n), id=n, attempts=2, crashes=1) for n in numbers],
        )

    assert broken(without_lines(1)) == []
    assert broken(without_lines(2)) == ["counters"]


def test_retry_of_an_atomic_task_without_a_database_has_no_line_in_the_journal():
    def crashed_and_retried(kind: str, crash_has_line: bool) -> Evidence:
        tasks: list[dict[str, Any]] = [{"key": str(number), "id": number} for number in range(2)]
        first = [run(1.0, attempt=1, **task) for task in tasks if crash_has_line]
        last = [run(3.0, 4.0, attempt=3, retries=1, nonce="r", pid=FIRST + 2, **task) for task in tasks]
        return evidence(
            enqueued=[enqueued(kind, **task) for task in tasks],
            runs=[*first, *last],
            rows=[row(kind, attempts=3, crashes=1, retries=1, **task) for task in tasks],
            effects=[(task["key"], "r") for task in tasks],
            killed={FIRST + 1: 2.0},
        )

    assert broken(crashed_and_retried("AtomicCompleting", True)) == []
    assert "counters" in broken(crashed_and_retried("AtomicCompleting", False)), "two crashes without a line"
    assert "counters" in broken(crashed_and_retried("Retrying", True)), "it has a line whatever happens"


def test_crash_under_a_manager_that_died_soon_after_need_not_be_counted():
    given = killed_and_run_again()

    assert broken(replace(given, rows=[row()], killed={FIRST + 1: 2.0, FIRST: 3.0})) == []


def test_what_is_left_over_is_a_violation():
    assert broken(evidence(leftovers=["a manager's row"])) == ["nothing left over"]


def test_trial_without_a_committed_task_shows_nothing():
    assert broken(evidence(enqueued=[], runs=[], rows=[])) == ["trial"]


def ticked(schedule: str = EVERY_SECOND, at: float = 1.0, number: int = 7, **more: Any) -> TickRun:
    given: dict[str, Any] = {"begun": at, "ended": at + 0.5, "how": "completed"}
    return TickRun(schedule, at, number, **{**given, **more})


def tick_row(schedule: str = EVERY_SECOND, at: float = 1.0, number: int = 7, **more: Any) -> TickRow:
    return TickRow(schedule, at, number, **{"status": "finished", **more})


def one_tick(schedule: str = EVERY_SECOND, at: float = 1.0, **totals: int) -> list[ScheduleRow]:
    """Return the rows of all schedules; one of them has ticked until ``at``."""
    return schedules(ScheduleRow(schedule, 0.5, at, {"enqueued": 1, **totals}, -0.5))


def test_ticks_that_add_up_break_nothing_and_may_run_again():
    ticks = [ticked(at=at, number=number) for at, number in ((1.0, 7), (1.0, 7), (2.0, 8))]
    row = ScheduleRow(EVERY_SECOND, 0.5, 5.0, {"enqueued": 2, "missed": 1, "overlap": 1, "duplicate": 1})

    assert broken(evidence(ticks=ticks, schedules=schedules(row))) == []


def test_task_of_a_tick_is_known_by_its_row_or_by_its_run():
    waiting = [tick_row(status="new")]

    assert broken(evidence(ticks=[ticked()], schedules=one_tick())) == [], "its row was deleted"
    assert broken(evidence(tick_rows=waiting, schedules=one_tick())) == []
    assert broken(evidence(ticks=[ticked()], tick_rows=[tick_row()], schedules=one_tick())) == []
    assert broken(evidence(schedules=one_tick())) == ["ticks"]


def test_tick_that_has_not_come_or_just_come_breaks_nothing():
    for late in (-40.0, 3.0):
        row = ScheduleRow(EVERY_MINUTE, 0.5, None, {}, late)

        assert broken(evidence(schedules=schedules(row))) == []


def test_tick_that_was_enqueued_twice_is_seen_before_its_tasks_run():
    runs, rows = [ticked()], [tick_row(number=8, status="new")]
    both = one_tick(enqueued=2, at=2.0)

    assert broken(evidence(ticks=runs, tick_rows=rows, schedules=both)) == ["ticks"]


def test_task_that_is_of_two_ticks_is_seen():
    runs, rows = [ticked(at=1.0)], [tick_row(at=2.0)]

    assert broken(evidence(ticks=runs, tick_rows=rows, schedules=one_tick(at=2.0, missed=1))) == ["ticks"]


def test_tick_that_is_lost_or_never_comes_is_seen():
    runs = [ticked(at=at, number=int(at)) for at in (1.0, 2.0, 3.0)]
    lost = ScheduleRow(EVERY_SECOND, 0.5, 4.0, {"enqueued": 3})
    never = ScheduleRow(EVERY_SECOND, 0.5, None, {}, late=11.0)
    stalled = ScheduleRow(EVERY_SECOND, 0.5, 3.0, {"enqueued": 3}, late=60.0)

    assert broken(evidence(ticks=runs, schedules=schedules(lost))) == ["ticks"]
    assert broken(evidence(schedules=schedules(never))) == ["ticks"]
    assert broken(evidence(ticks=runs, schedules=schedules(stalled))) == ["ticks"]


def test_schedule_that_catches_up_misses_nothing():
    def missed(schedule: str) -> Evidence:
        return evidence(ticks=[ticked(schedule, at=2.0)], schedules=one_tick(schedule, at=2.0, missed=1))

    assert broken(missed(EVERY_SECOND)) == []
    assert broken(missed(EVERY_SECOND_ALL)) == ["ticks"]


def test_moment_that_is_no_tick_of_its_schedule_is_seen():
    for at in (0.0, 1.5, 3.0):
        given = evidence(ticks=[ticked(at=at)], schedules=one_tick(at=2.0, missed=1))

        assert broken(given) == ["ticks"], at


def test_task_of_a_tick_runs_and_completes():
    def ended(how: str, status: str, waited: float = 0.0) -> Evidence:
        rows = [tick_row(status=status, waited=waited)]
        return evidence(ticks=[ticked(how=how)], tick_rows=rows, schedules=one_tick())

    assert broken(ended("completed", "finished", 60.0)) == []
    assert broken(ended("postponed", "new", 3.0)) == [], "the managers had been asked to stop"
    assert broken(ended("postponed", "new", 60.0)) == ["ticks"], "stuck"
    assert broken(ended("postponed", "in_process", 60.0)) == ["ticks"], "stuck"
    assert broken(ended("postponed", "finished")) == ["ticks"], "no run of it completed"
    assert broken(ended("completed", "error")) == ["ticks"]


def test_tasks_without_overlap_follow_each_other():
    def second(schedule: str, begun: float, **of_first: Any) -> Evidence:
        runs = [
            ticked(schedule, 1.0, 7, ended=2.4, **of_first),
            ticked(schedule, 2.0, 8, begun=begun, ended=9.0),
            ticked(schedule, 1.0, 7, begun=8.0, ended=9.0),
        ]
        return evidence(ticks=runs, schedules=one_tick(schedule, at=2.0, enqueued=2))

    assert broken(second(EVERY_SECOND_ALONE, 2.5)) == [], "a run that is repeated may come later"
    assert broken(second(EVERY_SECOND_ALONE, 2.3)) == ["ticks"]
    assert broken(second(EVERY_SECOND_ALONE, 2.5, how="postponed")) == ["ticks"]
    assert broken(second(EVERY_SECOND, 2.3)) == []


def test_schedule_without_a_row_is_seen():
    found = [str(one) for one in violations(evidence(schedules=schedules()[1:]))]

    assert len(found) == 1
    assert "every second has no row" in found[0]
    assert broken(evidence(schedules=[])) == ["ticks"] * len(SCHEDULES)
