"""Check this installation, and print each finding with its remedy."""

import argparse
import json
from pathlib import Path
from typing import Any, Final

from django_partisan import __version__
from django_partisan.config import queues
from django_partisan.doctor.examination import examine
from django_partisan.doctor.finding import ERROR, EXIT_CODES, FINE, SKIPPED, WARNING, Finding, Subject, worst
from django_partisan.logs import FORMATS
from django_partisan.management.operator_command import OperatorCommand

EPILOG: Final = """\
exit codes:
  0  no problems
  1  at least one warning
  2  at least one error

examples:
  manage.py partisan_doctor                                   settings, database, host, logs, traces
  manage.py partisan_doctor --metrics-url http://127.0.0.1:9464    and the metrics port of that manager
  manage.py partisan_doctor --rules /etc/prometheus/partisan  and the rules that were exported there
  manage.py partisan_doctor --json                            as JSON, for programs
"""


class Command(OperatorCommand):
    """Check the installation; see ``--help``."""

    help = "Check this installation, and print each finding and how to fix it."
    epilog = EPILOG
    checks_database = False

    def add_arguments(self, parser: argparse.ArgumentParser) -> None:
        """Add the options: those that the manager is started with, and the rules to compare."""
        parser.add_argument(
            "--queue-name",
            "--queue_name",
            default=queues.DEFAULT_QUEUE,
            help="queue to check (default: %(default)s)",
        )
        parser.add_argument("--metrics-url", metavar="URL", help="address of the manager's metrics port")
        parser.add_argument("--metrics-ca", metavar="FILE", help="CA file for the port's certificate")
        parser.add_argument("--metrics-token-file", metavar="FILE", help="file with the token for /metrics")
        parser.add_argument("--log-format", choices=FORMATS, default="auto", help="as for start_partisan")
        parser.add_argument("--log-file", metavar="FILE", help="as for start_partisan")
        parser.add_argument(
            "--rules",
            type=Path,
            metavar="DIR",
            help="folder to which partisan_export grafana wrote the rules",
        )
        parser.add_argument("--json", action="store_true", help="print one JSON object")

    def handle(self, *args: Any, **options: Any) -> None:
        """Run the checks, print the findings, and exit with the code of the worst one."""
        subject = Subject(options["queue_name"], **{name: options[name] for name in Subject._fields[1:]})
        findings = self.examine(subject)
        if options["json"]:
            self.stdout.write(_json(subject, findings))
        else:
            self._print(subject, findings)
        code = EXIT_CODES[worst(findings)]
        if code:
            raise SystemExit(code)

    def examine(self, subject: Subject) -> list[Finding]:
        """Return the findings of all checks."""
        return examine(subject)

    def _print(self, subject: Subject, findings: list[Finding]) -> None:
        style = self.style
        styles = {FINE: style.SUCCESS, SKIPPED: style.NOTICE, WARNING: style.WARNING, ERROR: style.ERROR}
        self.stdout.write(f"django-partisan {__version__}, queue {subject.queue!r}\n\n")
        for finding in findings:
            status = styles[finding.status](f"{finding.status:<8}")
            self.stdout.write(f"{status} {finding.check:<14} {finding.message}")
            if finding.remedy:
                self.stdout.write(f"{'':<23} remedy: {finding.remedy}")
        bad = sum(EXIT_CODES[finding.status] > 0 for finding in findings)
        self.stdout.write(f"\nProblems: {bad}." if bad else "\nNo problems.")


def _json(subject: Subject, findings: list[Finding]) -> str:
    document = {
        "version": __version__,
        "queue": subject.queue,
        "status": worst(findings),
        "findings": [{"check": finding.check, **finding._asdict()} for finding in findings],
    }
    return json.dumps(document, indent=2, ensure_ascii=False)
