"""Count the work of a scenario, with the lockstep, the tracers and the counters of the server."""

import os
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Final

from bench.budget.figures import TASKS
from bench.budget.instructions import Instructions
from bench.budget.lockstep import Lockstep
from bench.budget.stand_ins import MANAGER, install, role_of
from bench.database import Database

URL: Final = "PARTISAN_BUDGET_URL"
LOG: Final = "PARTISAN_BUDGET_LOG"
"""Environment variables with the server and its log."""

_UNSETTLED: Final = "SELECT EXISTS(SELECT 1 FROM django_partisan_task WHERE status IN ('new', 'in_process'))"
_TABLES: Final = """
    SELECT coalesce(string_agg(format('%I', tablename), ', '), '') FROM pg_tables
     WHERE schemaname = 'public' AND tablename LIKE 'django_partisan_%'
"""


class ScenarioCounter:
    """The counting of scenarios in one process; `counts` has the results per task."""

    def __init__(self) -> None:
        self.lockstep = Lockstep()
        self.instructions = Instructions()
        install(self.lockstep, self.instructions)
        self._session: Any = None
        self.counts: dict[str, dict[str, float]] = {}
        self._messages: Counter[str] = Counter()
        log = Path(os.environ[LOG])
        self.database = Database(os.environ[URL], log=lambda: log.read_text(errors="replace"))

    def set_up(self, migrate: Callable[[], None]) -> None:
        """Create the database, and count the statements of sessions that start from now on."""
        self.database.recreate()
        migrate()
        self._session = self.database.unlogged()
        self.database.count_statements()

    def note_message(self) -> None:
        """Count a message of the calling thread."""
        member = self.lockstep.own()
        if member is not None:
            self._messages[role_of(member.name)] += 1

    def empty(self) -> None:
        """Delete all rows of django-partisan and restart the ids at 1."""
        self._execute(f"TRUNCATE {self._value(_TABLES)} RESTART IDENTITY")

    def vacuum(self) -> None:
        """Update the statistics of PostgreSQL, so that every run has the same query plans."""
        self._execute("VACUUM ANALYZE")

    def is_settled(self) -> bool:
        """Return whether every task has run."""
        return not self._value(_UNSETTLED)

    @contextmanager
    def counted(self, scenario: str, *figures: str) -> Iterator[None]:
        """Count the work of a `with` block that runs all tasks of a scenario, for the scenario's figures."""
        before = self._read()
        yield
        after = self._read()
        self.counts[scenario] = {name: (after[name] - before[name]) / TASKS[scenario] for name in figures}

    def _read(self) -> dict[str, int]:
        statements = self.database.statements()
        if statements is None:
            raise RuntimeError("Statements are not counted: expected a database with the server's log.")
        wal, transactions = self.database.written()
        manager = [member for member in self.lockstep.members if member.name == MANAGER]
        return {
            "statements": statements,
            "commits": transactions,
            "wal_bytes": wal,
            "to_workers": self._messages["manager"],
            "to_manager": self._messages["worker"],
            "wakeups": sum(member.waits for member in manager),
            **{
                f"instructions_{role}": self.instructions.of(role) for role in ("manager", "worker", "caller")
            },
        }

    def _execute(self, statement: str) -> None:
        with self._session.cursor() as cursor:
            cursor.execute(statement)

    def _value(self, question: str) -> Any:
        with self._session.cursor() as cursor:
            cursor.execute(question)
            return cursor.fetchone()[0]
