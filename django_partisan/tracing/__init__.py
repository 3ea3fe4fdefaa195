"""Spans of every step of a task, by OpenTelemetry."""

from django_partisan.tracing.carrying import suppressed
from django_partisan.tracing.flushing import flush
from django_partisan.tracing.setup import configure_sdk_if_needed, is_set_up
from django_partisan.tracing.subscriber import TracingSubscriber

__all__ = ["TracingSubscriber", "configure_sdk_if_needed", "flush", "is_set_up", "suppressed"]
