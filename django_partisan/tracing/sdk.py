"""Find the OpenTelemetry SDK that the project set up, set one up if there is none, and flush it."""

import os
import threading
import time
from typing import Any

from opentelemetry import metrics, trace

from django_partisan import __version__
from django_partisan.telemetry import bus, swallowed
from django_partisan.telemetry.logger_provider import logger_provider
from django_partisan.tracing.dropped_spans import limit_sdk_warnings
from django_partisan.tracing.exporters import ensure_right_endpoint, exporters
from django_partisan.tracing.spans import SUBSCRIBER, TRACER


def configured_tracer(provider: trace.TracerProvider | None = None) -> trace.Tracer | None:
    """Return our tracer, or ``None`` if no SDK is configured or it is disabled."""
    provider = provider or trace.get_tracer_provider()
    if isinstance(provider, trace.ProxyTracerProvider):
        return None
    tracer = provider.get_tracer(TRACER, __version__)
    return None if isinstance(tracer, trace.NoOpTracer) else tracer


def configure_sdk_if_needed(process_role: str, queue: str) -> None:
    """Export this process's spans if ``OTEL_*`` requests it and the project has not set up an SDK.

    Call it in each process after its start, never before a fork: the SDK's threads would not survive one.
    Only the manager prints problems; it raises ``CannotStart`` for an endpoint that cannot work.
    """
    if not isinstance(trace.get_tracer_provider(), trace.ProxyTracerProvider):
        return
    is_worker = process_role == "worker"
    if not is_worker:
        ensure_right_endpoint(os.environ)
    made = list(exporters(silent=is_worker))
    if not made:
        return
    from opentelemetry.sdk.resources import Resource  # only if there is something to export

    from django_partisan.tracing.provider import Provider

    resource = Resource.create(
        {
            "process.pid": os.getpid(),
            "partisan.process.role": process_role,
            "partisan.queue.name": queue,
        }
    )
    trace.set_tracer_provider(Provider(made, resource))
    limit_sdk_warnings(silent=is_worker)
    bus.refresh()


def flush(timeout: float, tracer_provider: trace.TracerProvider | None = None) -> bool:
    """Flush this process's spans, and the project's metrics and log lines; return whether all was in time.

    Most SDKs ignore the timeout (issue 4568 in the SDK's repository), so the flushes run in threads, and we
    stop waiting for them after ``timeout`` seconds.
    """
    deadline = time.monotonic() + timeout
    tracers = tracer_provider or trace.get_tracer_provider()
    threads = [
        threading.Thread(target=_flush, args=(provider, timeout), name="partisan-flush", daemon=True)
        for provider in (tracers, metrics.get_meter_provider(), logger_provider())
        if hasattr(provider, "force_flush")
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(max(0.0, deadline - time.monotonic()))
    return not any(thread.is_alive() for thread in threads)


def _flush(provider: Any, timeout: float) -> None:
    try:
        provider.force_flush(int(timeout * 2000))  # longer than we wait, so that we give up first
    except Exception:  # the data to export is lost; the process still ends
        swallowed.counts[SUBSCRIBER] += 1
