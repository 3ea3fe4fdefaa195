"""Faults of the server: restarts, outages, terminated backends, and a restarted pooler."""

import time
from contextlib import closing
from typing import Literal

import psycopg2

from .arena import Arena
from .plan import PlannedFault

END_BACKENDS = """
    SELECT count(pg_terminate_backend(pid)) FROM pg_stat_activity
     WHERE pid <> pg_backend_pid() AND backend_type = 'client backend' AND pid %% 4 < %s
"""


def _stop_and_start(arena: Arena, mode: Literal["fast", "immediate"], seconds: float) -> bool:
    with arena.server_is_busy, arena.cut_off(None):
        arena.server.stop(mode)
        time.sleep(seconds)
        arena.server.start()
    return True


def restart_fast(arena: Arena, fault: PlannedFault) -> bool:
    """Restart the server with a fast shutdown."""
    return _stop_and_start(arena, "fast", 0.0)


def restart_immediate(arena: Arena, fault: PlannedFault) -> bool:
    """Restart the server with an immediate shutdown, as after a crash."""
    return _stop_and_start(arena, "immediate", 0.0)


def outage(arena: Arena, fault: PlannedFault) -> bool:
    """Stop the server for a while."""
    return _stop_and_start(arena, "fast", fault.lasts)


def end_backends(arena: Arena, fault: PlannedFault) -> bool:
    """Terminate all backends, or some of them."""
    with (
        arena.server_is_busy,
        arena.cut_off(None),
        closing(psycopg2.connect(arena.server.url)) as connected,
        connected.cursor() as cursor,
    ):
        cursor.execute(END_BACKENDS, [1 + int(fault.choice * 4)])
        [(count,)] = cursor.fetchall()
    return bool(count)


def restart_pooler(arena: Arena, fault: PlannedFault) -> bool:
    """Kill PgBouncer and start it again."""
    if arena.pooler is None:
        return False
    with arena.cut_off(None):
        arena.pooler.stop()
        arena.pooler.start()
    return True


ACTIONS = {
    "restart_fast": restart_fast,
    "restart_immediate": restart_immediate,
    "outage": outage,
    "outage_long": outage,
    "end_backends": end_backends,
    "restart_pooler": restart_pooler,
}
