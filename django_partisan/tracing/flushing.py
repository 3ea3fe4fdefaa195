"""Send what is left before a process ends, but never wait for longer than asked."""

import threading

from opentelemetry import trace

from django_partisan.telemetry import bus
from django_partisan.tracing import spans


def flush(timeout: float, tracer_provider: trace.TracerProvider | None = None) -> bool:
    """Flush this process's spans, whoever set up the SDK; tell whether ``timeout`` seconds were enough.

    Most SDKs ignore a timeout (their issue 4568), so a thread flushes, for which we stop waiting.
    """
    provider = tracer_provider or trace.get_tracer_provider()
    force_flush = getattr(provider, "force_flush", None)
    if force_flush is None:
        return True
    done = threading.Event()

    def run() -> None:
        try:
            force_flush(int(timeout * 2000))  # longer than we wait, so that it is we who give up
        except Exception:  # the spans are gone; the process goes on to its end
            bus.swallowed[spans.COUNTED_AS] += 1
        done.set()

    threading.Thread(target=run, name="partisan-flush", daemon=True).start()
    return done.wait(timeout)
