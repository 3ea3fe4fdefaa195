"""Set up telemetry in a worker's process, as its manager has configured it."""

from typing import Any

from django_partisan import logs, sentry, tracing
from django_partisan.config import observability
from django_partisan.engine.worker_spec import WorkerSpec
from django_partisan.metrics.recorder import Recorder
from django_partisan.telemetry import bus


def set_up_worker(
    spec: WorkerSpec, log_format: str, log_file: str | None, count: bool, settings: dict[str, Any]
) -> None:
    """Set up logs, traces and counting; ``settings`` are the values that the manager has resolved."""
    observability.use_resolved(settings)
    logs.setup("worker", log_format, log_file, spec.config.queue)
    tracing.setup("worker", spec.config.queue, spec.manager_pid, spec.slot)
    sentry.install("worker")  # inside the run's span, so that its events name that trace
    if count:
        bus.subscribe(Recorder(spec.config.queue))
