"""What a worker collects between two reports."""

import os
import socket
from typing import Any

import pytest

from django_partisan.engine.judge import CLAIM_LOST, RAN, RunResult
from django_partisan.engine.protocol import Report
from django_partisan.engine.worker.report import CHARACTERS_MAX, PendingReport
from django_partisan.sql.claiming import WAIT
from django_partisan.sql.history import EndedRun
from django_partisan.sql.row_changes import RowChange
from django_partisan.telemetry.bus import Subscriber
from django_partisan.telemetry.events.runs import RunsCompleted
from tests.support.events import RecordedEvents, subscribed
from tests.support.rows import task_row

pytestmark = pytest.mark.usefixtures("no_subscribers")

CHANGE = RowChange(3, 8, "new", 1.0)
WORKER = f"{socket.gethostname()}:{os.getpid()}"
CHANGED = CHANGE.after("postponed", EndedRun(5.0, 0.25, WORKER))
SETTLED = RunResult(is_settled=True)


def pending(**more: Any) -> PendingReport:
    return PendingReport("default", lambda row, started: row[WAIT], **more)


def sent(report: PendingReport) -> list[Report]:
    reports: list[Report] = []
    report.send(reports.append)
    return reports


def test_each_kind_of_result_is_reported_with_the_pace_of_each_processor():
    report = pending()
    report.add(task_row(1, "Memo"), RAN, 0.5, 0.0)
    report.add(task_row(2, "Memo"), SETTLED, 0.25, 0.0)
    report.add(task_row(3), RunResult("postponed", change=CHANGE), 0.25, 5.25)
    report.add(task_row(4), RunResult(CLAIM_LOST), 0.25, 0.0)

    assert sent(report) == [
        Report([1], [], [tuple(CHANGED)], [2], [4], {"Memo": [2, 0.75], "Letter": [2, 0.5]}, [])
    ]
    assert sent(report) == []


def test_what_could_not_be_sent_is_kept_with_the_claims_for_settling_without_a_manager():
    def fail(report: Report) -> None:
        raise ConnectionError

    report = pending()
    report.add(task_row(1, token=7), RAN, 0.5, 0.0)
    report.add(task_row(3), RunResult("postponed", change=CHANGE), 0.25, 5.25)

    with pytest.raises(ConnectionError):
        report.send(fail)

    assert report.take_unreported() == ([(1, 7)], [], [CHANGED])
    assert report.take_unreported() == ([], [], [])


def test_of_completed_tasks_whose_rows_are_kept_the_start_and_after_other_runs_the_history_is_reported():
    report = pending(keeps_completed=True)
    report.add(task_row(1, token=7), RAN, 0.5, 5.5)
    report.add(task_row(2, token=7, attempts=1), RAN, 0.5, 6.5)

    repeated = RowChange.complete(2, 7, EndedRun(6.0, 0.5, WORKER))
    assert sent(report)[0][:3] == ([], [(1, 5_000_000, None)], [tuple(repeated)])

    report.add(task_row(1, token=7), RAN, 0.5, 5.5)
    assert report.take_unreported() == ([], [(1, 7, 5_000_000, WORKER, None)], [])


def test_what_a_run_returned_is_reported_and_after_other_runs_with_the_history():
    report = pending()
    report.add(task_row(1, token=7), RunResult(result="[1]"), 0.5, 5.5)
    report.add(task_row(2, token=7, attempts=1), RunResult(result="[2]"), 0.5, 6.5)

    repeated = RowChange.complete(2, 7, EndedRun(6.0, 0.5, WORKER), "[2]")
    assert sent(report)[0][:3] == ([], [(1, 5_000_000, "[1]")], [tuple(repeated)])


def test_a_report_is_due_when_its_results_have_a_mebibyte():
    report = pending(every_seconds=3600.0)
    report.send(lambda _: None)
    half = RunResult(result="x" * (CHARACTERS_MAX // 2))

    due = [report.add(task_row(number), half, 0.0, ended=1.0) for number in range(2)]
    sent(report)

    assert due == [False, True]
    assert not report.add(task_row(3), half, 0.0, ended=1.0), "what was sent does not count"


def test_a_report_is_due_after_some_time_or_a_number_of_runs():
    report = pending(every_seconds=3600.0, runs_max=2)
    report.send(lambda _: None)

    assert not report.add(task_row(1), RAN, 0.0, ended=0.0)
    assert report.add(task_row(2), RAN, 0.0, ended=0.0)
    report.send(lambda _: None)
    assert report.add(task_row(3), RAN, 0.0, ended=float("inf"))


def test_completed_runs_are_emitted_once_a_report_and_processor_with_all_their_figures(recorded_events):
    report = pending()
    report.add(task_row(1, "Memo", wait=0.5), RAN, 1.0, 0.0)
    report.add(task_row(2, "Memo", attempts=3), SETTLED, 2.0, 0.0)
    report.add(task_row(3), RunResult("postponed", change=CHANGE), 0.5, 0.0)

    sent(report)

    assert recorded_events.events == [RunsCompleted("default", "Memo", [1.0, 2.0], [0.5, 0.0], [1, 4])]


@pytest.mark.usefixtures("no_subscribers")
def test_figures_are_emitted_if_a_subscriber_wants_them_when_the_report_is_sent():
    report = pending()
    report.add(task_row(1), RAN, 1.0, 0.0)
    sent(report)
    report.add(task_row(2), RAN, 2.0, 0.0)
    with subscribed(RecordedEvents()) as recorded:
        sent(report)

    assert [event.seconds for event in recorded.of(RunsCompleted)] == [[2.0]]


def test_runs_are_emitted_once_even_if_their_report_has_to_be_sent_again(recorded_events):
    def fail(report: Report) -> None:
        raise ConnectionError

    report = pending()
    report.add(task_row(1), RAN, 1.0, 0.0)
    with pytest.raises(ConnectionError):
        report.send(fail)

    assert sent(report)[0].measured == {"Letter": [1, 1.0]}

    assert len(recorded_events.of(RunsCompleted)) == 1


class Counting(Subscriber):
    name = "counting"

    def take(self) -> str:
        return "a figure"


def test_what_subscribers_counted_is_reported_though_no_run_ended():
    with subscribed(Counting()):
        assert sent(pending()) == [Report([], [], [], [], [], {}, [("counting", "a figure")])]
