"""Spans of every step of a task, by OpenTelemetry.

Importing this configures nothing; ``setup()`` does, and only processes of ``start_partisan`` call it.
"""

from django_partisan.tracing.carrying import suppressed
from django_partisan.tracing.flushing import flush
from django_partisan.tracing.process import install, setup
from django_partisan.tracing.sdk import configure_sdk_if_needed, is_set_up
from django_partisan.tracing.spans import ATTRIBUTES, SPANS
from django_partisan.tracing.subscriber import TracingSubscriber

__all__ = [
    "ATTRIBUTES",
    "SPANS",
    "TracingSubscriber",
    "configure_sdk_if_needed",
    "flush",
    "install",
    "is_set_up",
    "setup",
    "suppressed",
]
