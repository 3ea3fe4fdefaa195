"""The command line lists rows, and refuses unknown ones."""

import pytest

from tests.real_parts.game_day.__main__ import main
from tests.real_parts.game_day.rows import CUT, ROWS


def test_rows_are_listed_and_none_is_carried_out(capsys: pytest.CaptureFixture[str]):
    assert main(["--list"]) == 0

    assert [line.split()[0] for line in capsys.readouterr().out.splitlines()] == list(ROWS)


def test_the_cut_is_listed(capsys: pytest.CaptureFixture[str]):
    assert main(["--cut", "--list"]) == 0

    assert [line.split()[0] for line in capsys.readouterr().out.splitlines()] == list(CUT)


def test_an_unknown_row_is_refused_with_the_known_ones(capsys: pytest.CaptureFixture[str]):
    with pytest.raises(SystemExit) as refused:
        main(["--only", "meteor"])

    assert refused.value.code == 2
    assert "unknown row 'meteor'; known: healthy, manager-killed, " in capsys.readouterr().err
