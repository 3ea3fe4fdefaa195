"""The command line prints plans, and refuses unknown values."""

import pytest

from tools.chaos.__main__ import main


def test_plan_of_a_seed_is_printed_and_nothing_is_run(capsys: pytest.CaptureFixture[str]):
    assert main(["--seed", "7", "--seconds", "20", "--plan"]) == 0

    printed = capsys.readouterr().out
    assert printed.startswith("seed 7\nmanagers: ")
    assert " s  " in printed


def test_unknown_kind_of_fault_is_refused_with_the_known_ones(capsys: pytest.CaptureFixture[str]):
    with pytest.raises(SystemExit) as refused:
        main(["--only", "meteor"])

    assert refused.value.code == 2
    assert "unknown fault 'meteor'; known: kill_worker, " in capsys.readouterr().err


def test_number_of_managers_can_be_given(capsys: pytest.CaptureFixture[str]):
    for seed in ("1", "2", "3", "4"):
        assert main(["--seed", seed, "--managers", "3", "--plan"]) == 0

        [managers, _] = capsys.readouterr().out.split("; enqueuers", 1)
        assert managers.count(",") - managers.count("PgBouncer,") == 2


def test_help_names_every_kind_of_fault(capsys: pytest.CaptureFixture[str]):
    with pytest.raises(SystemExit):
        main(["--help"])

    assert "late_request" in capsys.readouterr().out
