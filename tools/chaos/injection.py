"""Inject the faults of the plan at their times, and undo lasting ones."""

import threading
import time
from collections.abc import Callable, Mapping

from . import network_faults, process_faults, server_faults
from .arena import Arena
from .plan import Plan, PlannedFault

Action = Callable[[Arena, PlannedFault], bool]
"""Injects a fault; returns False if its target no longer existed."""

ACTIONS: Mapping[str, Action] = {
    **process_faults.ACTIONS,
    **network_faults.ACTIONS,
    **server_faults.ACTIONS,
}


class Injection:
    """The injection of a plan, with a thread for the plan and one per fault."""

    def __init__(self, plan: Plan, arena: Arena) -> None:
        self._plan = plan
        self._arena = arena
        self._threads: list[threading.Thread] = []

    def run(self) -> None:
        """Start each fault at its time; return when all are over."""
        began_at = time.monotonic()
        for fault in self._plan.faults:
            time.sleep(max(0.0, began_at + fault.at - time.monotonic()))
            thread = threading.Thread(target=self._carry_out, args=[fault], name=fault.kind, daemon=True)
            thread.start()
            self._threads.append(thread)
        time.sleep(max(0.0, began_at + self._plan.seconds - time.monotonic()))
        for thread in self._threads:
            thread.join()
        network_faults.count_losses(self._arena)

    def _carry_out(self, fault: PlannedFault) -> None:
        record = self._arena.record
        try:
            happened = ACTIONS[fault.kind](self._arena, fault)
        except Exception as error:
            record.notes.append(f"{fault}: {error!r}")
            raise
        if fault.kind not in network_faults.LOSSES:  # losses are counted when they happen
            (record.happened if happened else record.missed)[fault.kind] += 1
