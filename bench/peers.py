"""Run the peers' harness, with django-partisan's adapter among the peers, and read its results."""

import json
import os
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

from bench.database import Database
from bench.measurement import Measurement, of_harness
from bench.pgbench import comparisons
from bench.surroundings import NOTES, free_port

ADAPTERS = Path(__file__).parent
LAST_CHARACTERS = 2_000

# The variants with the best results or those of the peer's documentation, by scenario.
SUBJECTS = {
    "drain": ("graphile_worker:lq5000x2", "pgqueuer:b1000", "pg_boss:tuned", "celery_redis:solo"),
    "latency": ("graphile_worker:default", "celery_redis:default", "pgqueuer:tuned", "pg_boss:tuned"),
    "enqueue": ("graphile_worker:default", "celery_redis:default", "pgqueuer:default", "pg_boss:tuned"),
    "idle": ("graphile_worker:default", "celery_redis:default", "pgqueuer:tuned", "pg_boss:tuned"),
    "sleep": ("graphile_worker:par2", "celery_redis:default", "pgqueuer:par2", "pg_boss:tuned"),
}


class HarnessFailed(Exception):
    """The peers' harness failed."""


class Harness:
    """The servers of the harness, with data and results in a separate folder."""

    def __init__(self, home: Path, folder: Path) -> None:
        self.home = home
        self.folder = folder
        self.notes = folder / "notes"
        self.port = free_port()
        self._results = folder / "results.jsonl"
        self._environment = {
            **os.environ,
            "PEERS_EXTRA": str(ADAPTERS),
            "PEERS_VAR": str(folder / "var"),
            "PEERS_RESULTS": str(self._results),
            "PEERS_PGPORT": str(self.port),
            "PEERS_REDISPORT": str(free_port()),
            NOTES: str(self.notes),
        }

    def database(self) -> Database:
        """Return the PostgreSQL of the harness, to read its settings."""
        return Database(f"postgresql://bench@127.0.0.1:{self.port}/postgres")

    def run(self, script: str, *arguments: str, environment: dict[str, str] | None = None) -> None:
        """Run a script of the harness, with its output to this process's."""
        command = [sys.executable, str(self.home / script), *arguments]
        done = subprocess.run(command, env={**self._environment, **(environment or {})}, check=False)
        if done.returncode != 0:
            raise HarnessFailed(f"{' '.join(command)}: exit code {done.returncode}")

    def measure(self, scenario: str, subjects: Sequence[str], *arguments: str) -> list[Measurement]:
        """Run one scenario for the subjects; return the new results."""
        return self._new(lambda: self.run("run.py", scenario, "--peers", ",".join(subjects), *arguments))

    def limit(self, scenario: str, tasks: int) -> list[Measurement]:
        """Run the cases of pgbench that a scenario is compared with, once each."""
        cases = [one.argument for one in comparisons(scenario, tasks)]
        if not cases:  # without names, the script would run all of them
            return []
        return self._new(lambda: self.run("pgbench/limit.py", *cases, environment={"LIMIT_REPS": "1"}))

    def log_end(self, subject: str) -> str:
        """Return the end of what a subject's worker printed."""
        log = self.folder / "var" / f"worker-{subject.replace(':', '-')}.log"
        return log.read_text(errors="replace")[-LAST_CHARACTERS:] if log.exists() else ""

    def is_installed(self, subject: str) -> bool:
        """Return whether the environment of a peer exists."""
        peer = self.home / subject.partition(":")[0] / "peer.json"
        if not peer.exists():
            return (ADAPTERS / peer.parent.name / "peer.json").exists()
        kind = json.loads(peer.read_text()).get("env")
        home = Path(os.environ.get("PEERS_ENVS", Path(tempfile.gettempdir()) / "peers"))
        return (home / ("node22" if kind == "node" else f"venv-{kind}")).exists()

    def _new(self, action: Callable[[], None]) -> list[Measurement]:
        known = len(self._lines())
        action()
        return [of_harness(json.loads(line)) for line in self._lines()[known:]]

    def _lines(self) -> list[str]:
        return self._results.read_text().splitlines() if self._results.exists() else []


@contextmanager
def harness(home: Path) -> Iterator[Harness]:
    """Run the harness's servers for a `with` block, and leave nothing behind."""
    folder = Path(tempfile.mkdtemp(prefix="partisan-bench-"))
    folder.chmod(0o755)  # PostgreSQL's account must be able to enter
    own = Harness(home.resolve(), folder)
    own.notes.mkdir()
    try:
        own.run("run.py", "server", "start")
        yield own
    finally:
        try:
            own.run("run.py", "server", "stop")
        finally:
            shutil.rmtree(folder)
