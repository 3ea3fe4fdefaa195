"""A figure that grew or is missing fails, one that shrank is named, and the file says what was counted."""

import math

import pytest

from bench.budget.__main__ import COUNTING_SECONDS, CountingFailed, counted_by_process, main
from bench.budget.budget_file import PATH, BadBudget, Key, keyed, read, shown, write
from bench.budget.comparison import Line, Verdict, compare, report, updated
from bench.budget.counting import HANGS_SECONDS
from bench.budget.figures import FIGURES, SCENARIOS, TASKS, VARIANTS, Environment

HERE = Environment("3.11", "5.2", "18")
STATEMENTS = Key("latency", "statements", "any")
INSTRUCTIONS = Key("latency", "instructions_worker", "Python 3.11, Django 5.2")
WAL = Key("latency", "wal_bytes", "PostgreSQL 18")


@pytest.fixture
def file(tmp_path):
    path = tmp_path / "budget.md"
    write({STATEMENTS: 4.0, INSTRUCTIONS: 2000.0}, path)
    return path


def run(file, found, *options):
    return main(["--budget", str(file), *options], lambda scenarios: dict(found))


def test_a_figure_that_grew_fails_with_its_budget_and_the_ratio(file, capsys):
    code = run(file, {STATEMENTS: 5.0, INSTRUCTIONS: 2000.0})

    text = capsys.readouterr().out
    assert code == 1
    assert "1 of 2 figures grew:" in text
    assert (
        "one task after the other: SQL statements: budget 4, found 5, ratio 1.250, margin 2%: GREW"
        in text.partition("grew:")[2]
    )


def test_a_figure_within_its_margin_passes(file, capsys):
    code = run(file, {STATEMENTS: 4.07, INSTRUCTIONS: 1961.0})

    assert code == 0
    assert "All 2 figures are within their budgets." in capsys.readouterr().out


def test_a_figure_that_shrank_passes_and_is_named_with_the_remedy(file, capsys):
    code = run(file, {STATEMENTS: 3.0, INSTRUCTIONS: 2000.0})

    text = capsys.readouterr().out
    assert code == 0
    assert "ratio 0.750" in text.partition("1 shrank:")[2]
    assert "make budget UPDATE=yes" in text


def test_a_figure_without_a_budget_in_this_environment_passes_and_is_named(file, capsys):
    code = run(file, {STATEMENTS: 4.0, INSTRUCTIONS._replace(environment="Python 3.14, Django 6.1"): 9000.0})

    assert code == 0
    assert "no budget yet for Python 3.14, Django 6.1: 9,000" in capsys.readouterr().out


def test_update_writes_what_was_found_and_keeps_other_environments(file):
    elsewhere = INSTRUCTIONS._replace(environment="Python 3.14, Django 6.1")

    code = run(file, {STATEMENTS: 5.0, elsewhere: 9000.0}, "--update")

    assert code == 0
    assert read(file) == {STATEMENTS: 5.0, INSTRUCTIONS: 2000.0, elsewhere: 9000.0}


def test_counting_that_fails_fails_with_what_it_said(file, capsys):
    def count(scenarios):
        raise CountingFailed("a thread has failed")

    assert main(["--budget", str(file)], count) == 1
    assert "a thread has failed" in capsys.readouterr().err


@pytest.mark.slow
def test_counting_that_does_not_end_fails_with_what_it_counted():
    with pytest.raises(CountingFailed, match=r"Counting latency did not end within 0 s"):
        counted_by_process(["latency"], {}, seconds=0)


def test_counting_that_hangs_shows_its_threads_before_it_is_killed_and_before_a_test_ends(pytestconfig):
    assert HANGS_SECONDS < COUNTING_SECONDS < float(pytestconfig.getini("timeout"))


def test_a_figure_of_which_nothing_was_counted_fails_with_the_remedy(file, capsys):
    code = run(file, {STATEMENTS: 0.0, INSTRUCTIONS: 2000.0})

    text = capsys.readouterr().out
    assert code == 1
    assert (
        "SQL statements: budget 4, found 0, ratio 0.000, margin 2%: LOST, nothing was counted"
        in (text.partition("1 of 2 figures lost or no longer counted:")[2])
    )
    assert "Correct the counter" in text


def test_a_figure_that_is_no_longer_counted_fails_and_is_removed_by_an_update(file, capsys):
    budget = {**read(file), WAL._replace(environment="any"): 100.0}
    write(budget, file)
    found = {STATEMENTS: 4.0, INSTRUCTIONS: 2000.0}

    code = run(file, found)

    text = capsys.readouterr().out
    assert [line.verdict for line in compare(budget, found)] == [*[Verdict.WITHIN] * 2, Verdict.GONE]
    assert code == 1
    assert "WAL bytes: no longer counted for any: 100" in text.partition("no longer counted:")[2]
    assert run(file, found, "--update") == 0
    assert read(file) == found


def test_a_figure_that_is_lost_everywhere_is_missed():
    budget = {STATEMENTS: 4.0, INSTRUCTIONS: 2000.0}

    assert report(compare(budget, {INSTRUCTIONS: 2000.0}))[1] == 1


def test_one_single_event_in_a_scenario_that_is_not_counted_is_lost():
    key = Key("drain_tuned", "statements", "any")

    assert Line(key, 1 / TASKS["drain_tuned"], 0.0).verdict is Verdict.LOST


def test_update_leaves_a_budget_that_is_as_good_as_met():
    budget = {WAL: 500.0, STATEMENTS: 4.0}

    assert updated(budget, {WAL: 500.4, STATEMENTS: 4.01}) == {WAL: 500.0, STATEMENTS: 4.01}


def test_a_scenario_that_was_not_asked_for_is_left_alone():
    others = {STATEMENTS._replace(scenario="delay"): 1.0}

    assert compare({STATEMENTS: 4.0, **others}, {STATEMENTS: 4.0}) == [Line(STATEMENTS, 4.0, 4.0)]


def test_one_more_in_a_whole_scenario_is_within_its_budget():
    key = Key("drain_tuned", "statements", "any")
    budget = 12 / TASKS["drain_tuned"]
    found = [Line(key, budget, number / TASKS["drain_tuned"]) for number in (10, 11, 13, 14)]

    assert [line.verdict for line in found] == [Verdict.SHRANK, Verdict.WITHIN, Verdict.WITHIN, Verdict.GREW]


@pytest.mark.parametrize(
    ("found", "ratio", "verdict"), [(0.0, 1.0, Verdict.WITHIN), (0.1, math.inf, Verdict.GREW)]
)
def test_a_budget_of_zero_is_kept_by_zero_only(found, ratio, verdict):
    line = Line(STATEMENTS, 0.0, found)

    assert (line.ratio, line.verdict) == (ratio, verdict)


def test_what_is_written_can_be_read(tmp_path):
    budget = {STATEMENTS: 0.01234, INSTRUCTIONS: 12345.0, WAL: 567.8}

    write(budget, tmp_path / "budget.md")

    assert read(tmp_path / "budget.md") == budget
    assert read(tmp_path / "missing.md") == {}


@pytest.mark.parametrize(
    "line", ["| latency | SQL statements | any |", "| latency | SQL statements | any | few |"]
)
def test_a_line_that_is_not_understood_is_named_with_the_remedy(tmp_path, line):
    path = tmp_path / "budget.md"
    write({}, path)
    path.write_text(path.read_text() + line + "\n")

    with pytest.raises(BadBudget, match=r"budget.md, line 8: .* make budget UPDATE=yes"):
        read(path)


def test_figures_are_kept_for_the_environment_that_they_depend_on():
    counts = {"latency": {"statements": 4.0, "wal_bytes": 567.8, "instructions_worker": 2000.0}}

    assert keyed(counts, HERE) == {STATEMENTS: 4.0, WAL: 567.8, INSTRUCTIONS: 2000.0}


def test_counts_are_shown_with_the_digits_that_count():
    assert [shown(value) for value in (0.0, 0.012345, 4.0, 567.84, 1234.5, 12345.0)] == [
        "0",
        "0.01235",
        "4",
        "567.8",
        "1,234",
        "12,345",
    ]


def test_every_scenario_is_counted_in_one_process_and_has_budgets():
    counted = [name for names in VARIANTS.values() for name in names]
    budgets = read(PATH)

    assert sorted(counted) == sorted(SCENARIOS)
    assert {key.scenario for key in budgets} == set(SCENARIOS)
    assert {key.figure for key in budgets} == set(FIGURES)
