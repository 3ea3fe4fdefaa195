"""The command prints every finding; its exit code follows from the worst one."""

import json
from io import StringIO
from pathlib import Path

import pytest
from django.core.management import call_command

from django_partisan import __version__
from django_partisan.doctor.examination import CHECKS
from django_partisan.doctor.finding import EXIT_CODES, Finding, Subject
from django_partisan.management.commands.partisan_doctor import Command

pytestmark = pytest.mark.django_db(transaction=True)


def run(*arguments: str, command: Command | None = None) -> tuple[str, int]:
    """Run the command; return its output and its exit code."""
    out = StringIO()
    try:
        call_command(command or Command(), *arguments, stdout=out, no_color=True)
    except SystemExit as ended:
        return out.getvalue(), int(str(ended.code))
    return out.getvalue(), 0


class StubbedCommand(Command):
    """The command with an examination that returns the test's findings."""

    def __init__(self, *found: Finding) -> None:
        super().__init__()
        self.found = list(found)
        self.subjects: list[Subject] = []

    def examine(self, subject: Subject) -> list[Finding]:
        self.subjects.append(subject)
        return self.found


FOUND = Finding("fine", "Well.", "", "host")


def test_a_real_examination_looks_at_everything():
    out, code = run()

    words = [line.split() for line in out.splitlines()]
    assert code == 1  # no manager serves the queue
    assert out.startswith(f"django-partisan {__version__}, queue 'default'\n")
    assert {line[1] for line in words if line[:1] and line[0] in EXIT_CODES} == set(CHECKS)


@pytest.mark.parametrize(("status", "code"), [("fine", 0), ("skipped", 0), ("warning", 1), ("error", 2)])
def test_the_exit_code_is_by_severity(status, code):
    command = StubbedCommand(FOUND._replace(status=status))

    assert run(command=command)[1] == code
    assert run("--json", command=command)[1] == code


def test_a_remedy_stands_below_its_finding():
    out, _ = run(command=StubbedCommand(Finding("warning", "Late.", "Wind it up.", "clock")))

    assert "warning  clock          Late.\n                        remedy: Wind it up.\n" in out
    assert out.endswith("\nProblems: 1.\n")


def test_all_is_fine():
    assert run(command=StubbedCommand(FOUND))[0].endswith("fine     host           Well.\n\nNo problems.\n")


def test_json_has_every_finding():
    out, _ = run("--json", "--queue-name", "default", command=StubbedCommand(FOUND))

    assert json.loads(out) == {
        "version": __version__,
        "queue": "default",
        "status": "fine",
        "findings": [{"check": "host", "status": "fine", "message": "Well.", "remedy": ""}],
    }


def test_options_say_what_is_examined():
    command = StubbedCommand(FOUND)
    run(
        "--queue_name", "mail", "--metrics-url", "https://a:1", "--metrics-ca", "ca.pem",
        "--metrics-token-file", "token", "--log-format", "ecs", "--log-file", "a.log", "--rules", "there",
        command=command,
    )  # fmt: skip

    expected = Subject("mail", "https://a:1", "ca.pem", "token", "ecs", "a.log", Path("there"))
    assert command.subjects == [expected]


def test_help_has_examples_on_lines_of_their_own(capsys):
    with pytest.raises(SystemExit):
        call_command("partisan_doctor", "--help")

    out = capsys.readouterr().out
    assert "\n  manage.py partisan_doctor --json" in out
    assert "\n  2  at least one error\n" in out
