"""What watches in every Django process: web servers, shells, and until they are told more, our own."""

from django_partisan import logs, signals, tracing
from django_partisan.config import observability
from django_partisan.exceptions import WrongSetting
from django_partisan.metrics import custom
from django_partisan.telemetry import bus


def watch_application() -> None:
    """Watch what a process of the host's enqueues; configures nothing, and prints nothing."""
    logs.install()
    tracing.install()
    signals.install()
    if _is_to_count():
        from django_partisan.metrics import application  # loads the client library

        application.install()
    bus.provide("log", lambda task, definition: logs.task_logger(task))
    bus.provide("metrics", lambda task, definition: custom.Measures(definition, task.queue))


def _is_to_count() -> bool:
    try:
        return bool(observability.value("CLIENT_METRICS"))
    except WrongSetting:
        return False  # the process must start, for the system checks to tell what is wrong
