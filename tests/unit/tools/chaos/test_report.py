"""The report says which promise was broken, by which task, and how to repeat the run."""

from pathlib import Path

from tools.chaos import report
from tools.chaos.arena import Record
from tools.chaos.checker import violations
from tools.chaos.evidence import Enqueued, Evidence, Gap, Row, Run, ScheduleRow
from tools.chaos.plan import make_plan
from tools.chaos.schedules import EVERY_MINUTE, SCHEDULES
from tools.chaos.trial import Outcome


def outcome(rows: list[Row]) -> Outcome:
    evidence = Evidence(
        3.0,
        enqueued=[Enqueued("a", "Nap", 0.5, id=1, began_at=10.0)],
        runs=[Run("n", 1, "a", 100, 101, 11.0, 12.0, "completed"), Run("m", 1, "a", 100, 102, 13.0)],
        rows=rows,
        killed={102: 13.5, 100: 20.0},
        gaps=[Gap(14.0, 15.0, 100), Gap(16.0, 17.0)],
        schedules=[ScheduleRow(EVERY_MINUTE, 30.0, 180.0, {"enqueued": 2, "missed": 1})],
    )
    record = Record()
    record.happened["kill_worker"] += 2
    record.missed["reset"] += 1
    return Outcome(make_plan(5, 10.0), Path("/logs"), evidence, record, violations(evidence))


GOOD = Row(1, "a", "Nap", 0.5, "finished", attempts=2, crashes=1)
STUCK = Row(1, "a", "Nap", 0.5, "in_process", attempts=0)


def test_line_of_a_seed_counts_what_happened():
    fine = report.line(outcome([GOOD]))
    failed = report.line(outcome([STUCK]))

    assert fine.startswith("seed    5: ")
    assert "   1 tasks,    2 runs,  2 faults: " in fine
    assert "1 x stuck" in failed


def test_details_tell_how_to_run_it_again_and_the_history_of_the_task():
    text = "\n".join(report.details(outcome([STUCK]), "python -m tools.chaos --seed 5"))

    assert "run it again: python -m tools.chaos --seed 5\nlogs and journals: /logs\n" in text
    assert "* stuck: a the row is still 'in_process'\n" in text
    assert "   0.000  Nap(0.5) committed, id 1\n" in text
    assert (
        "   1.000  run of 1 in 101 of manager 100, attempt 1, postpones 0, retries 0: completed after" in text
    )
    assert ": killed after 0.500 s\n" in text
    assert "manager 100 cut off for 1.000 s" in text
    assert "all managers cut off for 1.000 s" in text
    assert "  10.000  manager 100 killed" in text


def test_table_has_every_fault_and_the_summary_names_the_seeds_that_failed():
    outcomes = [outcome([GOOD]), outcome([STUCK])]
    lines = list(report.table(outcomes))

    assert [line.split() for line in lines[1:]] == [["kill_worker", "4", "0"], ["reset", "0", "2"]]
    assert report.summary(outcomes).endswith(" violations in seeds 5") or ", 5" in report.summary(outcomes)


def test_ticks_of_each_schedule_are_counted_by_outcome():
    header, *lines = report.ticks([outcome([GOOD]), outcome([GOOD])])

    assert header.split() == ["ticks", "of", "enqueued", "duplicate", "overlap", "missed"]
    assert len(lines) == len(SCHEDULES)
    assert lines[-1].split() == ["every", "minute", "4", "0", "0", "2"]
