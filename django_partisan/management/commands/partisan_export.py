"""Write out the dashboards and alerts, or the log shipping recipes, of the installed version."""

import argparse
from pathlib import Path
from typing import Any

from django.core.management.base import BaseCommand, CommandError

from django_partisan import __version__, bundled_files


class Command(BaseCommand):
    """Export shipped files; see ``--help``."""

    help = "Write out Grafana dashboards and Prometheus alerts (grafana) or log shipping recipes (elk)."
    requires_system_checks: list[str] = []
    requires_migrations_checks = False

    def add_arguments(self, parser: argparse.ArgumentParser) -> None:
        """Add the options for the files and the folder."""
        parser.add_argument("what", choices=sorted(bundled_files.PARTS), help="the files to write")
        parser.add_argument(
            "folder", type=Path, metavar="DIR", help="target folder; created if it does not exist"
        )
        parser.add_argument("--force", action="store_true", help="overwrite files that differ")

    def handle(self, *args: Any, **options: Any) -> None:
        """Write the files; refuse to overwrite files that differ, unless forced."""
        folder: Path = options["folder"]
        try:
            paths = bundled_files.export(options["what"], folder, options["force"])
        except (bundled_files.CannotExport, OSError) as error:
            raise CommandError(str(error)) from error
        self.stdout.write(f"{len(paths)} files of version {__version__} are in {folder}.")
