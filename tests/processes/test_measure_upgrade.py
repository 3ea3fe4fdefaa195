"""The command in UPGRADING that measures the migrations works, and leaves nothing behind."""

import subprocess
import sys
from pathlib import Path

from django.db import connection

from tests.support.database import MIGRATIONS

ROOT = Path(__file__).resolve().parents[2]
COMMAND = [sys.executable, "-m", "tools.measure_upgrade", "--rows", "100"]


def databases() -> list[str]:
    with connection.cursor() as cursor:
        cursor.execute("SELECT datname FROM pg_database WHERE datname LIKE 'partisan_upgrade%%'")
        return [name for (name,) in cursor.fetchall()]


def test_it_says_how_long_each_migration_takes_and_drops_its_database(db: None):
    done = subprocess.run(COMMAND, cwd=ROOT, capture_output=True, text=True, timeout=60, check=False)

    assert (done.returncode, done.stderr) == (0, "")
    assert [line.partition(":")[0] for line in done.stdout.splitlines()[1:-1]] == MIGRATIONS[2:]
    assert databases() == []
