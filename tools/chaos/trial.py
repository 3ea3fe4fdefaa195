"""Run one seed: start everything, inject the faults, wait for all tasks, stop, and gather the evidence."""

import shutil
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tools import database_url, postgres

from . import journal
from . import pooler as pooling
from .arena import Arena, Enqueuers, Record
from .checker import violations
from .database import Database
from .evidence import Evidence, enqueued_in, runs_in, ticks_in
from .injection import Injection
from .plan import Plan
from .processes import ROOT, ManagerSlot, Supervisor, environment, group_of, is_locked, resume, wait_while
from .proxy import Proxy, Route
from .schedules import SCHEDULES
from .violation import Violation

READY_SECONDS = 120.0
REST_SECONDS = 20.0
LONGEST_REST_SECONDS = 180.0
LONGEST_REST_RATIO = 2.0
"""How many more seconds the remaining tasks may take per second of the trial, in which they piled up."""
STOP_SECONDS = 20.0
CLOSE_SECONDS = 5.0
ENQUEUER_SECONDS = 10.0
STALL_SECONDS = 0.5
CLOCK_OFF_SECONDS = 3600.0
"""How far ahead the clock of the first manager and its workers is."""
SERVER_SETTINGS = {"max_connections": "300", "deadlock_timeout": "500ms"}


@dataclass
class Outcome:
    """The result of a trial."""

    plan: Plan
    folder: Path
    evidence: Evidence
    record: Record
    violations: list[Violation]


def run(plan: Plan, folder: Path) -> Outcome:
    """Run a trial; journals and logs are written to ``folder``, which is emptied first."""
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True)
    with postgres.server(durable=True, settings=SERVER_SETTINGS) as server, _temporary_folder() as base:
        database = Database(server.url)
        _migrate(server, folder)
        with _arena(plan, server, folder, base) as arena:
            arena.supervisor.start()
            _wait_until_ready(arena, database)
            _enqueue(arena, plan, folder)
            with _stalls_noted(arena):
                Injection(plan, arena).run()
                _wait_until_ended(arena, plan, database)
            stopped_at = database.now()
            leftovers = _stop(arena, plan, database, base)
            evidence = _evidence(arena, plan, database, folder, stopped_at)
            evidence.leftovers += leftovers
            (folder / "server.log").write_text(server.log())
    return Outcome(plan, folder, evidence, arena.record, violations(evidence))


@contextmanager
def _temporary_folder() -> Iterator[Path]:
    base = Path(tempfile.mkdtemp(prefix="chaos-"))
    base.chmod(0o755)  # PgBouncer runs as another account
    try:
        yield base
    finally:
        shutil.rmtree(base)


def _migrate(server: postgres.Server, folder: Path) -> None:
    command = [sys.executable, "-m", "django", "migrate", "--run-syncdb", "-v0"]
    variables = environment(folder, database_url.parse(server.url), {})
    subprocess.run(command, cwd=ROOT, env=variables, check=True)


@contextmanager
def _arena(plan: Plan, server: postgres.Server, folder: Path, base: Path) -> Iterator[Arena]:
    with ExitStack() as stack:
        proxy = Proxy()
        stack.callback(proxy.stop)
        pooler = _pooler(plan, server, base)
        if pooler is not None:
            stack.callback(pooler.stop)
        routes, slots = [], []
        for number, one in enumerate(plan.managers):
            through_pooler = pooler is not None and one.pooling is not None
            route = proxy.route(pooler.port if through_pooler and pooler is not None else server.port)
            temporary = base / one.host
            temporary.mkdir(exist_ok=True)
            queue = {**plan.queue, **one.queue_settings()}
            clock_off = CLOCK_OFF_SECONDS if number == 0 else 0.0
            variables = environment(folder, _settings(server, route), queue, SCHEDULES, clock_off)
            variables["TMPDIR"] = str(temporary)
            routes.append(route)
            slots.append(ManagerSlot(one, variables, folder / f"manager-{number}-{one.host}.log"))
        supervisor = Supervisor(slots)
        stack.callback(supervisor.destroy)
        enqueuers = Enqueuers([])
        stack.callback(enqueuers.destroy)
        yield Arena(server, proxy, routes, proxy.route(server.port), supervisor, enqueuers, pooler, Record())


def _pooler(plan: Plan, server: postgres.Server, base: Path) -> pooling.Pooler | None:
    modes = [one.pooling for one in plan.managers if one.pooling is not None]
    program = pooling.find()
    if not modes or program is None:
        return None
    made = pooling.Pooler(program, base / "pooler", server.port, modes[0])
    made.start()
    return made


def _settings(server: postgres.Server, route: Route) -> dict[str, Any]:
    options = {"sslmode": "disable", "gssencmode": "disable"}
    return {
        **database_url.parse(server.url), "PORT": str(route.port), "OPTIONS": options,
        "DISABLE_SERVER_SIDE_CURSORS": True,
    }  # fmt: skip


def _wait_until_ready(arena: Arena, database: Database) -> None:
    wanted = len(arena.supervisor.slots)
    if not wait_while(lambda: database.managers() < wanted, READY_SECONDS):
        outputs = "\n".join(slot.output.read_text() for slot in arena.supervisor.slots)
        raise RuntimeError(f"not every manager is ready within {READY_SECONDS:g} s:\n{outputs}")


def _enqueue(arena: Arena, plan: Plan, folder: Path) -> None:
    variables = environment(folder, _settings(arena.server, arena.enqueuer_route), {})
    for number in range(plan.enqueuers):
        name, seed = f"e{number}", str(plan.seed * 100 + number)
        command = [sys.executable, "-m", "tools.chaos.enqueuer", name, seed, str(plan.seconds)]
        with (folder / f"enqueuer-{number}.log").open("wb") as output:
            arena.enqueuers.processes.append(
                subprocess.Popen(command, cwd=ROOT, env=variables, stdout=output, stderr=output)
            )

    def are_starting() -> bool:
        ready = [line for line in journal.read(folder) if line["what"] == "ready"]
        return len(ready) < plan.enqueuers

    if not wait_while(are_starting, READY_SECONDS):
        raise RuntimeError(f"not every enqueuer is ready within {READY_SECONDS:g} s; see {folder}")


@contextmanager
def _stalls_noted(arena: Arena) -> Iterator[None]:
    """Note when this machine was too busy to run this thread: managers may be late then, too."""
    ending = threading.Event()

    def watch() -> None:
        before = journal.now()
        while not ending.wait(0.1):
            late = journal.now() - before - 0.1
            if late > STALL_SECONDS:
                arena.record.notes.append(f"this machine stalled for {late:.1f} s")
                arena.note_gap(arena.supervisor.alive, before, journal.now())
            before = journal.now()

    thread = threading.Thread(target=watch, name="stalls", daemon=True)
    thread.start()
    try:
        yield
    finally:
        ending.set()
        thread.join()


def _wait_until_ended(arena: Arena, plan: Plan, database: Database) -> None:
    """Wait until every task has ended, or nothing has happened for a long time."""
    wait_while(arena.enqueuers.are_running, ENQUEUER_SECONDS)
    arena.enqueuers.destroy()
    began_at = changed_at = time.monotonic()
    patience = 3 * plan.lease_seconds + REST_SECONDS
    longest = LONGEST_REST_SECONDS + LONGEST_REST_RATIO * plan.seconds
    before = None
    while time.monotonic() < min(changed_at + patience, began_at + longest):
        progress = database.progress()
        if progress.unended == 0:
            break
        if progress != before:
            before, changed_at = progress, time.monotonic()
        time.sleep(0.1)
    alive = len(arena.supervisor.alive())
    wait_while(lambda: database.managers() > alive, 2 * plan.lease_seconds + CLOSE_SECONDS)


def _stop(arena: Arena, plan: Plan, database: Database, base: Path) -> list[str]:
    """Ask all managers to stop; return descriptions of what they left behind."""
    found: list[str] = []
    arena.supervisor.end()
    managers = arena.supervisor.all()
    wait_while(lambda: any(group_of(manager.pid) for manager in managers), STOP_SECONDS)
    for manager in managers:
        for process in group_of(manager.pid):
            resume(process.pid)
            what = "the manager" if process.pid == manager.pid else "a process"
            found.append(
                f"{what} ({process.pid}) of manager {manager.pid} lives {STOP_SECONDS:g} s after TERM"
            )
    arena.supervisor.destroy()
    if arena.pooler is not None:
        arena.pooler.stop()
    wait_while(lambda: database.sessions() > 0, CLOSE_SECONDS)
    found += [f"a connection: {name}" for name in database.session_names()]
    found += [f"a manager's row: {name}" for name in database.manager_names()]
    return found + [text for host in base.iterdir() for text in _presence_files(arena, plan, host)]


def _presence_files(arena: Arena, plan: Plan, host: Path) -> Iterator[str]:
    """Yield problems with a host's presence files.

    If a manager of another host rescued a dead manager's tasks, the dead manager's file stays until a sweep.
    So do the files of its workers that were still alive and could not reach the database.
    """
    paths = list(host.glob("django-partisan-*/*.lock"))
    of_host = [
        manager for slot in arena.supervisor.slots if slot.plan.host == host.name for manager in slot.all
    ]
    killed = sum(manager.pid in arena.record.killed for manager in of_host)
    if len(paths) > killed * (1 + plan.queue["WORKERS_COUNT"]):
        yield f"{len(paths)} presence files on host {host.name}, where {killed} managers were killed"
    for path in paths:
        if is_locked(path):
            yield f"a presence file that a process holds locked: {path.name} on host {host.name}"


def _evidence(arena: Arena, plan: Plan, database: Database, folder: Path, stopped_at: float) -> Evidence:
    lines = journal.read(folder)
    record = arena.record
    killed = dict(record.killed)
    killed.update({line["killed"]: line["at"] for line in lines if line["what"] == "killed"})
    return Evidence(
        plan.lease_seconds,
        plan.deletes,
        enqueued_in(lines, database.markers()),
        runs_in(lines),
        database.rows(),
        database.effects(),
        killed,
        {one.pid: one.ended_at for one in arena.supervisor.all() if one.ended_at is not None},
        record.forced,
        record.gaps,
        record.delays,
        ticks=ticks_in(lines),
        tick_rows=database.tick_rows(stopped_at),
        schedules=database.schedules(stopped_at),
    )
