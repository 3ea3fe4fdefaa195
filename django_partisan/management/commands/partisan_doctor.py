"""Look at this installation: say what is fine, what is not, and the cure."""

import argparse
import json
from pathlib import Path
from typing import Any, Final

from django.core.management.base import BaseCommand

from django_partisan import __version__
from django_partisan.config import queues
from django_partisan.doctor import Finding, Subject, examine, exit_code, worst
from django_partisan.doctor.finding import ERROR, FINE, SKIPPED, WARNING
from django_partisan.logs import FORMATS

EPILOG: Final = """\
exit codes:
  0  all is fine
  1  there is a warning
  2  there is an error

examples:
  manage.py partisan_doctor                                   settings, database, host, logs, traces
  manage.py partisan_doctor --metrics-url http://127.0.0.1:9464    and what that manager answers
  manage.py partisan_doctor --rules /etc/prometheus/partisan  and the rules that were exported there
  manage.py partisan_doctor --json                            for machines
"""


class Command(BaseCommand):
    """Examine the installation; see ``--help``."""

    help = "Look at this installation: say what is fine, what is not, and the cure."
    requires_system_checks: list[str] = []  # they are a part of the examination
    requires_migrations_checks = False

    def create_parser(self, prog_name: str, subcommand: str, **kwargs: Any) -> Any:
        """Return a parser whose help keeps the lines of the examples."""
        kwargs.setdefault("epilog", EPILOG)
        parser = super().create_parser(prog_name, subcommand, **kwargs)
        parser.formatter_class = argparse.RawDescriptionHelpFormatter
        return parser

    def add_arguments(self, parser: argparse.ArgumentParser) -> None:
        """Declare the options: what the manager is started with, and what to compare."""
        parser.add_argument(
            "--queue-name", "--queue_name", default=queues.DEFAULT_QUEUE, help="queue (default: %(default)s)"
        )
        parser.add_argument("--metrics-url", metavar="URL", help="address of the manager's metrics port")
        parser.add_argument("--metrics-ca", metavar="FILE", help="CA that signed the port's certificate")
        parser.add_argument("--metrics-token-file", metavar="FILE", help="file with the token for /metrics")
        parser.add_argument("--log-format", choices=FORMATS, default="auto", help="as for start_partisan")
        parser.add_argument("--log-file", metavar="FILE", help="as for start_partisan")
        parser.add_argument(
            "--rules", type=Path, metavar="DIR", help="folder that partisan_export grafana wrote"
        )
        parser.add_argument("--json", action="store_true", help="print one JSON object")

    def handle(self, *args: Any, **options: Any) -> None:
        """Examine, print, and exit with a code by severity."""
        subject = Subject(
            options["queue_name"],
            _without_slash(options["metrics_url"]),
            options["metrics_ca"],
            options["metrics_token_file"],
            options["log_format"],
            options["log_file"],
            options["rules"],
        )
        findings = examine(subject)
        if options["json"]:
            self.stdout.write(_json(subject, findings))
        else:
            self._print(subject, findings)
        code = exit_code(findings)
        if code:
            raise SystemExit(code)

    def _print(self, subject: Subject, findings: list[Finding]) -> None:
        styles = {
            FINE: self.style.SUCCESS,
            SKIPPED: self.style.NOTICE,
            WARNING: self.style.WARNING,
            ERROR: self.style.ERROR,
        }
        self.stdout.write(f"django-partisan {__version__}, queue {subject.queue!r}\n\n")
        for finding in findings:
            status = styles[finding.status](f"{finding.status:<8}")
            self.stdout.write(f"{status} {finding.check:<14} {finding.message}")
            if finding.cure:
                self.stdout.write(f"{'':<23} cure: {finding.cure}")
        bad = [finding for finding in findings if finding.status in (WARNING, ERROR)]
        self.stdout.write(f"\n{len(bad)} to look at." if bad else "\nNothing to do.")


def _json(subject: Subject, findings: list[Finding]) -> str:
    told = {
        "version": __version__,
        "queue": subject.queue,
        "status": worst(findings),
        "findings": [finding._asdict() for finding in findings],
    }
    return json.dumps(told, indent=2, ensure_ascii=False)


def _without_slash(url: str | None) -> str | None:
    return None if url is None else url.rstrip("/")
