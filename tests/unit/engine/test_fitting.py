"""How many outcomes one statement writes: their text is limited, but one outcome always fits."""

import pytest

from django_partisan.engine.manager.delayed_outcomes import (
    CHARACTERS_AT_MOST,
    Entry,
    fitting,
    written_characters,
)
from django_partisan.engine.outcome_writing import Kind
from django_partisan.sql.row_changes import Crash, RowChange
from tests.support.rows import task_row

LARGE = "x" * (CHARACTERS_AT_MOST // 2)


def kept(*results: str | None) -> list[Entry]:
    return [(task_row(number), (0, "elsewhere:17", result)) for number, result in enumerate(results)]


def test_as_many_results_as_the_text_of_a_statement_allows_are_written():
    assert fitting(Kind.KEPT, kept(LARGE, LARGE, "1"), 10) == 2


def test_a_result_that_is_too_long_for_a_statement_goes_alone():
    assert fitting(Kind.KEPT, kept(LARGE * 3, "1"), 10) == 1


@pytest.mark.parametrize("kind", [Kind.KEPT, Kind.COMPLETED])
def test_no_more_rows_are_written_than_a_statement_may_have(kind: Kind):
    assert fitting(kind, kept("1", "2", "3"), 2) == 2


def test_the_text_of_a_change_is_that_of_its_error_its_history_and_its_result():
    change = RowChange(1, 7, "error", error_message="ab", error_traceback="cde", entry="f", result="gh")

    assert written_characters(change) == 8
    assert written_characters(Crash(1, 7, 8)) == written_characters(None) == 0
