"""promtool accepts the rules, their tests and the scrape example."""

import subprocess
from pathlib import Path

import pytest

from tests.real_parts.live_stack import ALERTS
from tests.real_parts.monitoring import INHIBITION
from tests.real_parts.servers import program
from tests.real_parts.shortening import shortened
from tests.support.commands import ROOT

CASES = sorted((ALERTS / "tests").glob("*.yaml"))


def _promtool(*arguments: str | Path) -> str:
    done = subprocess.run(
        [program("promtool"), *map(str, arguments)], capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


@pytest.mark.parametrize("name", ["recording.yaml", "alerts.yaml"])
def test_promtool_accepts_the_rules(name: str) -> None:
    assert "SUCCESS" in _promtool("check", "rules", ALERTS / name)


@pytest.mark.parametrize("file", CASES, ids=[file.stem for file in CASES])
def test_every_alert_fires_and_stays_silent_as_its_cases_say(file: Path) -> None:
    assert "SUCCESS" in _promtool("test", "rules", file)


def test_promtool_accepts_the_scrape_example() -> None:
    assert "is valid" in _promtool("check", "config", ROOT / "grafana" / "prometheus" / "scrape.yaml")


def test_amtool_accepts_the_shipped_alertmanager_file() -> None:
    done = subprocess.run(
        [program("amtool"), "check-config", INHIBITION], capture_output=True, text=True, check=False
    )

    assert done.returncode == 0, done.stdout + done.stderr


def test_the_shortened_rules_are_still_rules(tmp_path: Path) -> None:
    text = (ALERTS / "alerts.yaml").read_text()
    file = tmp_path / "alerts.yaml"
    file.write_text(shortened(text))

    assert f"SUCCESS: {text.count('- alert:')} rules found" in _promtool("check", "rules", file)
