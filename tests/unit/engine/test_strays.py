"""Strays: no task runs twice at the same time in one manager, whoever holds its claim."""

from django_partisan.engine.manager.strays import Strays
from tests.support.rows import task_row as row


def test_without_strays_all_run_and_all_are_ours():
    strays = Strays()

    assert strays.set_aside([row(1)]) == [row(1)]
    assert strays.drop([row(1)]) == ([row(1)], [])
    assert strays.aside() == []


def test_a_task_that_still_runs_here_waits_until_that_run_has_ended():
    strays = Strays()
    strays.add([1, 2])
    again = row(1, token=9)

    assert strays.set_aside([again, row(3)]) == [row(3)]
    assert strays.aside() == [again]
    assert strays.drop([row(3)]) == ([row(3)], [])
    assert strays.drop([row(1), row(4)]) == ([row(4)], [again])
    assert strays.aside() == []


def test_what_did_not_come_back_is_forgotten_with_its_run():
    strays = Strays()
    strays.add([1])

    assert strays.drop([row(1)]) == ([], [])
    assert strays.set_aside([row(1, token=9)]) == [row(1, token=9)]
