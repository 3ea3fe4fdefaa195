"""What watches in every Django process: web servers, shells, and until they are told more, our own."""

from django_partisan import events, logs, observability, signals, tracing
from django_partisan.metrics import custom


def watch_application() -> None:
    """Watch what a process of the host's enqueues; configures nothing, and prints nothing."""
    logs.install()
    tracing.install()
    signals.install()
    if observability.value("CLIENT_METRICS"):
        from django_partisan.metrics import application  # loads the client library

        application.install()
    events.provide("log", lambda task, processor_class: logs.task_logger(task))
    events.provide("metrics", lambda task, processor_class: custom.Measures(processor_class, task.queue))
