"""Keep Datadog's tracer, if the project uses it, from tracing a manager's claims, polls and heartbeats.

Datadog's library is not a dependency: the tracer is disabled only if an agent has loaded it.
"""

import sys
from typing import Any, Final

LIBRARY: Final = "ddtrace.trace"


def disable() -> None:
    """Disable Datadog's tracer in this process, which must be a manager: it runs none of the project's code.

    The workers are children of another process, in which the agent traces as before.
    """
    library: Any = sys.modules.get(LIBRARY)
    if library is not None:
        library.tracer.enabled = False
