"""Datadog's tracer, if the host runs it: a manager's claims, polls and heartbeats make no traces there.

Datadog's library is not a dependency: the tracer is disabled only if an agent has loaded it.
"""

import sys
from typing import Any, Final

LIBRARY: Final = "ddtrace.trace"


def disable() -> None:
    """Disable Datadog's tracer in this process, a manager's, which runs no code of the host.

    The workers are children of another process, in which the agent traces as before.
    """
    library: Any = sys.modules.get(LIBRARY)
    if library is not None:
        library.tracer.enabled = False
