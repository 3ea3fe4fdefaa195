"""Set up telemetry in every Django process; in managers and workers, before their own set-up."""

from contextlib import suppress

from django_partisan import logs, signals, tracing
from django_partisan.config import observability
from django_partisan.exceptions import WrongSetting
from django_partisan.metrics import custom
from django_partisan.telemetry import bus


def set_up_application() -> None:
    """Subscribe to the tasks that this process enqueues; configure no logger or SDK, and print nothing."""
    logs.install()
    tracing.install()
    signals.install()
    bus.tools["log"] = lambda task, definition: logs.task_logger(task)
    bus.tools["metrics"] = custom.measures_for
    with suppress(WrongSetting):  # the process must start, so that the system checks can report it
        if observability.value("CLIENT_METRICS"):
            from django_partisan.metrics.application import ClientMetrics  # loads prometheus-client

            bus.subscribe(ClientMetrics())
