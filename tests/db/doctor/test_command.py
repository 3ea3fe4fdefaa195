"""The command prints every finding and exits by the worst."""

import json
from io import StringIO
from pathlib import Path
from typing import Any

import pytest
from django.core.management import call_command

from django_partisan import __version__
from django_partisan.doctor.finding import STATUSES, Finding
from django_partisan.doctor.subject import Subject
from django_partisan.management.commands import partisan_doctor

pytestmark = pytest.mark.django_db(transaction=True)


def run(*arguments: str) -> tuple[str, int]:
    out = StringIO()
    try:
        call_command("partisan_doctor", *arguments, stdout=out, no_color=True)
        code = 0
    except SystemExit as ended:
        code = int(str(ended.code))
    return out.getvalue(), code


@pytest.fixture
def found(monkeypatch: pytest.MonkeyPatch) -> dict[str, Any]:
    """Return what the examination is told to find, and what it was asked."""
    told: dict[str, Any] = {"findings": [Finding("host", "fine", "Well.")], "subjects": []}

    def examine(subject: Subject) -> list[Finding]:
        told["subjects"].append(subject)
        return told["findings"]  # type: ignore[no-any-return]

    monkeypatch.setattr(partisan_doctor, "examine", examine)
    return told


def test_a_real_examination_looks_at_everything():
    out, code = run()

    assert code == 1  # nobody serves the queue
    assert out.startswith(f"django-partisan {__version__}, queue 'default'\n")
    checks = {
        line.split()[1] for line in out.splitlines() if line.split()[:1] and line.split()[0] in STATUSES
    }
    assert checks == {
        "settings", "database", "migrations", "notifications", "clock", "managers",
        "host", "logs", "traces", "metrics", "rules",
    }  # fmt: skip


@pytest.mark.parametrize(("status", "code"), [("fine", 0), ("skipped", 0), ("warning", 1), ("error", 2)])
def test_the_exit_code_is_by_severity(found, status, code):
    found["findings"] = [Finding("host", status, "Said.")]

    assert run()[1] == code
    assert run("--json")[1] == code


def test_a_cure_stands_below_its_finding(found):
    found["findings"] = [Finding("clock", "warning", "Late.", "Wind it up.")]

    out, _ = run()

    assert "warning  clock          Late.\n                        cure: Wind it up.\n" in out
    assert out.endswith("\n1 to look at.\n")


def test_all_is_fine(found):
    assert run()[0].endswith("fine     host           Well.\n\nNothing to do.\n")


def test_json_has_every_finding(found):
    out, _ = run("--json", "--queue-name", "default")

    assert json.loads(out) == {
        "version": __version__,
        "queue": "default",
        "status": "fine",
        "findings": [{"check": "host", "status": "fine", "message": "Well.", "cure": ""}],
    }


def test_options_say_what_is_examined(found):
    run(
        "--queue_name", "mail", "--metrics-url", "https://a:1/", "--metrics-ca", "ca.pem",
        "--metrics-token-file", "token", "--log-format", "ecs", "--log-file", "a.log", "--rules", "there",
    )  # fmt: skip

    expected = Subject("mail", "https://a:1", "ca.pem", "token", "ecs", "a.log", Path("there"))
    assert found["subjects"] == [expected]


def test_help_has_examples_on_lines_of_their_own(capsys):
    with pytest.raises(SystemExit):
        call_command("partisan_doctor", "--help")

    out = capsys.readouterr().out
    assert "\n  manage.py partisan_doctor --json" in out
    assert "\n  2  there is an error\n" in out
