"""What is printed about a row, and what the page says about it."""

from contextlib import nullcontext

from tests.real_parts.game_day import report
from tests.real_parts.game_day.trial import Result
from tests.real_parts.game_day.verdict import FIRING, RESOLVED, Observation, Row
from tests.real_parts.monitoring import Message

ROW = Row(
    "stuck", "a run is stuck", lambda site: nullcontext(), ("PartisanDrainHangs",), ("PartisanTasksRescued",)
)
SILENT = Row("healthy", "none", ROW.inject, ())


def message(alert: str, at: float, status: str = FIRING) -> Message:
    return Message(status=status, labels={"alertname": alert}, annotations={}, received_at=at)


HEARD = (
    message("PartisanDrainHangs", 112.4),
    message("PartisanTasksRescued", 113),
    message("PartisanDrainHangs", 157, RESOLVED),
)
RIGHT = Result(ROW, (), Observation(95, 100, 150, HEARD, ""))
QUIET = Result(SILENT, (), Observation(95, 100, 150, (), ""))
WRONG = Result(ROW, ("PartisanDrainHangs did not fire; what fired: nothing",))


def test_a_row_that_went_right_is_a_line_with_its_times():
    assert report.line(RIGHT) == "stuck: ok; PartisanDrainHangs after 12 s, resolved after 7 s"
    assert report.line(QUIET) == "healthy: ok; nothing"


def test_a_row_that_is_wrong_says_what_fired_and_what_should_have():
    assert report.line(WRONG).splitlines() == [
        "stuck: WRONG",
        "      PartisanDrainHangs did not fire; what fired: nothing",
    ]


def test_the_summary_says_how_to_repeat_what_is_wrong():
    assert report.summary([RIGHT, QUIET]) == "2 rows, all right"
    assert report.summary([RIGHT, WRONG]) == (
        "2 rows, 1 wrong: stuck\nagain: python -m tests.real_parts.game_day --only stuck"
    )


def test_the_page_has_a_row_for_each_fault():
    page = report.page([RIGHT, QUIET])

    hangs = "[PartisanDrainHangs](runbooks.md#partisandrainhangs)"
    rescued = "[PartisanTasksRescued](runbooks.md#partisantasksrescued)"
    assert f"| a run is stuck | {hangs} | 12 s | 10 min | {rescued} | after 7 s |" in page
    assert "| none | nothing |  |  |  |  |" in page


def test_an_alert_that_ended_before_the_recovery_says_so():
    early = Result(ROW, (), Observation(95, 100, 160, HEARD, ""))

    assert report.line(early) == "stuck: ok; PartisanDrainHangs after 12 s, resolved during the fault"


def test_alerts_that_no_row_requires_are_named_as_such():
    assert "PartisanTableBloat" in report.bottom()
    assert "PartisanManagerMissing" not in report.bottom()
