"""Faults of processes: killed, stopped for a while, or asked to stop."""

import os
import signal
import time
from collections.abc import Callable
from contextlib import ExitStack, suppress

from . import journal
from .arena import Arena
from .plan import PlannedFault
from .processes import ManagerProcess, Process, group_of, resume

Choose = Callable[[ManagerProcess, PlannedFault], list[Process]]

WAKE_SECONDS = 0.2
"""How long a resumed process may need until it reads the clock."""


def _worker(manager: ManagerProcess, fault: PlannedFault) -> list[Process]:
    workers = manager.workers()
    return [workers[int(fault.choice * len(workers))]] if workers else []


def _fork_server(manager: ManagerProcess, fault: PlannedFault) -> list[Process]:
    server = manager.fork_server()
    return [] if server is None else [server]


def _manager(manager: ManagerProcess, fault: PlannedFault) -> list[Process]:
    return [one for one in group_of(manager.pid) if one.pid == manager.pid]


def _host(manager: ManagerProcess, fault: PlannedFault) -> list[Process]:
    # Kill the manager last, so that it can notice the end of the others; other faults kill only the manager.
    return sorted(group_of(manager.pid), key=lambda one: one.pid == manager.pid)


def _kill(choose: Choose) -> Callable[[Arena, PlannedFault], bool]:
    def kill(arena: Arena, fault: PlannedFault) -> bool:
        manager = arena.manager(fault)
        chosen = choose(manager, fault) if manager is not None else []
        for process in chosen:
            arena.record.killed.setdefault(process.pid, journal.now())
            with suppress(ProcessLookupError):
                os.kill(process.pid, signal.SIGKILL)
        return bool(chosen)

    return kill


def _stop(choose: Choose) -> Callable[[Arena, PlannedFault], bool]:
    def stop(arena: Arena, fault: PlannedFault) -> bool:
        manager = arena.manager(fault)
        chosen = choose(manager, fault) if manager is not None else []
        with ExitStack() as stack:
            if manager is not None and any(process.pid == manager.pid for process in chosen):
                stack.enter_context(arena.cut_off(lambda: [manager], WAKE_SECONDS))
            for process in chosen:
                with suppress(ProcessLookupError):
                    os.kill(process.pid, signal.SIGSTOP)
                    stack.callback(resume, process.pid)
            time.sleep(fault.lasts if chosen else 0.0)
        return bool(chosen)

    return stop


def drain(arena: Arena, fault: PlannedFault) -> bool:
    """Ask a manager to stop; a new one replaces it when it has ended."""
    manager = arena.manager(fault)
    if manager is not None:
        manager.process.send_signal(signal.SIGTERM)
    return manager is not None


def force_stop(arena: Arena, fault: PlannedFault) -> bool:
    """Ask a manager to stop, and soon after force it to."""
    manager = arena.manager(fault)
    if manager is not None:
        arena.record.forced.add(manager.pid)
        manager.process.send_signal(signal.SIGTERM)
        time.sleep(0.1)
        manager.process.send_signal(signal.SIGTERM)
    return manager is not None


def kill_enqueuer(arena: Arena, fault: PlannedFault) -> bool:
    """Kill one of the enqueuing processes."""
    process = arena.enqueuers.processes[fault.number]
    others = [one for one in arena.enqueuers.processes if one.poll() is None and one is not process]
    if process.poll() is not None or not others:
        return False
    process.kill()
    return True


ACTIONS = {
    "kill_worker": _kill(_worker),
    "kill_fork_server": _kill(_fork_server),
    "kill_manager": _kill(_manager),
    "kill_host": _kill(_host),
    "stop_worker": _stop(_worker),
    "stop_worker_long": _stop(_worker),
    "stop_fork_server": _stop(_fork_server),
    "stop_manager": _stop(_manager),
    "stop_manager_long": _stop(_manager),
    "stop_host": _stop(_host),
    "stop_host_long": _stop(_host),
    "drain": drain,
    "force_stop": force_stop,
    "kill_enqueuer": kill_enqueuer,
}
