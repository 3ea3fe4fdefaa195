"""Datadog's tracer, where the host runs it: a manager's claims, polls and heartbeats are no traces of theirs.

Datadog's library is no dependency of ours: what an agent has loaded is told, or nobody.
"""

import sys
from typing import Any, Final

LIBRARY: Final = "ddtrace.trace"


def disable() -> None:
    """Let Datadog trace nothing in this process, a manager's: it runs no code but ours.

    Its workers are children of a process of their own, in which the agent traces as before.
    """
    library: Any = sys.modules.get(LIBRARY)
    if library is not None:
        library.tracer.enabled = False
