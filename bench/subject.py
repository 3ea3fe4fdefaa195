"""Run one variant of django-partisan through the command line of its adapter."""

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

from bench import processes, variant
from bench.database import Database
from bench.measurement import Failed
from bench.recorder import FOLDER
from bench.records import Records
from bench.surroundings import NOTES

STOP_SECONDS = 10.0
CALL_SECONDS = 900.0
STDERR_CHARACTERS = 2_000
UNSETTLED = (
    "SELECT EXISTS(SELECT 1 FROM django_partisan_task"
    " WHERE status IN ('new', 'in_process') AND execute_after <= now())"
)


class Subject:
    """A variant with its database, its folder of records, and its process trees while they run."""

    def __init__(
        self,
        name: str,
        database: Database,
        folder: Path,
        probe: dict[str, str] | None = None,
        managers: int = 1,
    ) -> None:
        self.name = name
        self._managers = managers
        self.database = database
        self.records = Records(folder / "records")
        self.started = 0.0
        self._log = folder / "worker.log"
        self._workers: list[subprocess.Popen[bytes]] = []
        self._environment = {
            **{key: value for key, value in os.environ.items() if key not in ("PEERS_LIB", "DATABASE_URL")},
            **database.environment(),
            **variant.environments()[name],
            **(probe or {}),
            FOLDER: str(self.records.folder),
            NOTES: str(folder / "notes"),
            "PYTHONUNBUFFERED": "1",
        }
        (folder / "notes").mkdir(exist_ok=True)

    def call(self, *arguments: object) -> dict[str, Any]:
        """Run one verb of the adapter and return its output."""
        done = subprocess.run(
            self._command(*arguments),
            env=self._environment,
            capture_output=True,
            text=True,
            timeout=CALL_SECONDS,
        )
        if done.returncode != 0:
            raise Failed(
                f"{self.name} {arguments}: exit code {done.returncode}\n{done.stderr[-STDERR_CHARACTERS:]}"
            )
        told: dict[str, Any] = json.loads(done.stdout.strip().splitlines()[-1])
        return told

    def prepare(self) -> None:
        """Create the schema in an empty database."""
        self.database.recreate()
        self.call("setup")

    def fill(self, tasks: int, mode: int) -> None:
        """Enqueue tasks, then vacuum and analyze the table."""
        self.records.clear(tasks)
        self.call("bulk", tasks, mode)
        self.database.vacuum()

    def start(self) -> None:
        """Start the worker command of each manager."""
        with open(self._log, "wb") as log:
            for _ in range(self._managers):
                worker = subprocess.Popen(
                    self._command("worker"),
                    env=self._environment,
                    stdout=log,
                    stderr=log,
                    start_new_session=True,
                )
                self._workers.append(worker)
        self.started = time.monotonic()

    @property
    def roots(self) -> list[int]:
        """The process ids of the roots of the process trees."""
        if not self._workers:
            raise Failed("nothing was started")
        return [worker.pid for worker in self._workers]

    def check(self) -> None:
        """Raise `Failed` unless all worker commands are still running."""
        codes = [code for worker in self._workers if (code := worker.poll()) is not None]
        if codes:
            raise Failed(f"{self.name}: start_partisan ended with code {codes[0]}\n{self.log_end()}")

    def log_end(self) -> str:
        """Return the end of what the worker command printed."""
        return self._log.read_text(errors="replace")[-STDERR_CHARACTERS:] if self._log.exists() else ""

    def is_settled(self) -> bool:
        """Return whether no due task is waiting or running."""
        return not self.database.value(UNSETTLED)

    def stop(self) -> float:
        """Ask the worker commands to stop, kill them after some seconds, and return how long it took."""
        asked = time.monotonic()
        tree = processes.tree([worker.pid for worker in self._workers])
        for worker in self._workers:
            worker.send_signal(signal.SIGTERM)
        try:
            for worker in self._workers:
                worker.wait(max(0.0, asked + STOP_SECONDS - time.monotonic()))
        except subprocess.TimeoutExpired:
            for pid in tree:
                try:
                    os.kill(pid, signal.SIGKILL)
                except ProcessLookupError:
                    continue
            for worker in self._workers:
                worker.wait()
        self._workers = []
        return time.monotonic() - asked

    def _command(self, *arguments: object) -> list[str]:
        return [sys.executable, str(variant.ADAPTER / "adapter.py"), *map(str, arguments)]
