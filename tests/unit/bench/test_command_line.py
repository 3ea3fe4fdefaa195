"""The command line refuses options that do not apply to the chosen scenarios or to peers."""

from pathlib import Path

import pytest

from bench.__main__ import main


def refusal(capsys: pytest.CaptureFixture[str], *words: str) -> str:
    """Return the last line printed by a refused command line."""
    with pytest.raises(SystemExit) as refused:
        main(words)

    assert refused.value.code == 2
    return capsys.readouterr().err.splitlines()[-1]


@pytest.mark.parametrize("scenarios", [(), ("--scenarios", "drain,latency"), ("--scenarios", "sleep")])
@pytest.mark.parametrize(
    "condition", [("--managers", "2"), ("--retain", "9"), ("--prune", "9"), ("--ahead", "9"), ("--held",)]
)
def test_conditions_are_for_drains_alone(
    capsys: pytest.CaptureFixture[str], condition: tuple[str, ...], scenarios: tuple[str, ...]
) -> None:
    said = refusal(capsys, *condition, *scenarios)

    assert said.endswith(f"{condition[0]}: only for the scenario drain; add --scenarios drain")


def test_conditions_that_peers_do_not_know_are_refused_beside_them(
    capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    (tmp_path / "run.py").touch()

    words = ("--scenarios", "drain", "--retain", "9", "--held", "--managers", "2", "--peers", str(tmp_path))
    said = refusal(capsys, *words)

    assert said.endswith("--held, --managers: only without peers; leave out --peers")


def test_zero_managers_are_refused(capsys: pytest.CaptureFixture[str]) -> None:
    assert "0 managers; expected at least 1" in refusal(capsys, "--managers", "0")
