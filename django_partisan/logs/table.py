"""The table of all log events, which the code, documentation and tests use.

Importing the modules declares their log events, in the order of the documentation.
"""

from django_partisan.logs import (  # noqa: F401, I001
    task_events,
    run_events,
    queue_events,
    operator_events,
    schedule_events,
    worker_events,
    manager_events,
    telemetry_events,
)
from django_partisan.logs.log_event import LOG_EVENTS

__all__ = ["LOG_EVENTS"]
