"""Faults of the network: refused, reset, silent or slow connections, lost statements and answers."""

import time
from functools import partial

from .arena import Arena
from .conversation import ANSWER, LATE, REQUEST, Loss
from .evidence import Gap
from .faults import FAULTS, MANAGER
from .plan import PlannedFault
from .processes import ManagerProcess
from .runs import LONGEST_PAUSE_SECONDS

RETRY_SECONDS = 1.5
"""How long the next heartbeat may take after one was lost."""
OF_THE_LEASE = ("heartbeat", "rescue", "register", "commit")
HALF_OPEN_SECONDS = 6.0
"""How long a manager may take to notice that a connection is dead."""
LOSSES = {
    "lose_answer": ANSWER,
    "lose_enqueue_answer": ANSWER,
    "lose_request": REQUEST,
    "late_request": LATE,
}


def reset(arena: Arena, fault: PlannedFault) -> bool:
    """Reset all connections of a manager and its workers."""
    with arena.cut_off(partial(_managers_at, arena, fault)):
        return arena.proxy.reset(arena.route(fault)) > 0


def refuse(arena: Arena, fault: PlannedFault) -> bool:
    """Reset all connections of a manager, and refuse new ones for a while."""
    with arena.cut_off(partial(_managers_at, arena, fault)):
        arena.proxy.refuse(arena.route(fault))
        _wait_and_undo(arena, fault)
    return True


def swallow(arena: Arena, fault: PlannedFault) -> bool:
    """Stop forwarding for a while, but keep the connections open."""
    with arena.cut_off(partial(_managers_at, arena, fault)):
        arena.proxy.swallow(arena.route(fault))
        _wait_and_undo(arena, fault)
    return True


def half_open(arena: Arena, fault: PlannedFault) -> bool:
    """Stop forwarding on the manager's own connections; new connections work."""
    with arena.cut_off(partial(_managers_at, arena, fault), HALF_OPEN_SECONDS):
        return arena.proxy.half_open(arena.route(fault)) > 0


def slow(arena: Arena, fault: PlannedFault) -> bool:
    """Delay all data between a manager and the database."""
    with arena.cut_off(partial(_managers_at, arena, fault)):
        arena.proxy.slow(arena.route(fault), 0.05 + 0.2 * fault.choice)
        _wait_and_undo(arena, fault)
    return True


def lose(arena: Arena, fault: PlannedFault) -> bool:
    """Lose the next statements with a name, or their answers."""
    loss = Loss(fault.statement, LOSSES[fault.kind], fault.lasts, fault.times)
    arena.losses.append((fault, loss))
    arena.proxy.lose(
        arena.enqueuer_route if fault.kind == "lose_enqueue_answer" else arena.route(fault), loss
    )
    return True


def reset_enqueuers(arena: Arena, fault: PlannedFault) -> bool:
    """Reset the connections of all enqueuers."""
    return arena.proxy.reset(arena.enqueuer_route) > 0


def count_losses(arena: Arena) -> None:
    """Count the losses that happened, and drop those whose statement was never sent."""
    for route in (*arena.routes, arena.enqueuer_route):
        arena.proxy.forget(route)
    for fault, loss in arena.losses:
        name = f"{fault.kind} ({fault.statement})"
        arena.record.happened[name] += len(loss.happened_at)
        arena.record.missed[name] += int(not loss.happened_at)
        if FAULTS[fault.kind].target == MANAGER:
            for at in loss.happened_at:
                pids = [manager.pid for manager in _managers_at(arena, fault)]
                arena.record.delays.extend(Gap(at, at + LONGEST_PAUSE_SECONDS, pid) for pid in pids)
                if fault.statement in OF_THE_LEASE:
                    arena.note_gap(partial(_managers_at, arena, fault), at, at + RETRY_SECONDS)


def _managers_at(arena: Arena, fault: PlannedFault) -> list[ManagerProcess]:
    return arena.slot(fault).all


def _wait_and_undo(arena: Arena, fault: PlannedFault) -> None:
    time.sleep(fault.lasts)
    arena.proxy.undo_faults(arena.route(fault))


ACTIONS = {
    "reset": reset,
    "refuse": refuse,
    "refuse_long": refuse,
    "swallow": swallow,
    "swallow_long": swallow,
    "half_open": half_open,
    "slow": slow,
    **dict.fromkeys(LOSSES, lose),
    "reset_enqueuers": reset_enqueuers,
}
