"""Spans of every step of a task, by OpenTelemetry.

Importing this configures nothing; ``setup()`` does, and only processes of ``start_partisan`` call it.
"""

from django_partisan.tracing.installation import install, is_stuck, setup
from django_partisan.tracing.subscriber import TracingSubscriber

__all__ = ["TracingSubscriber", "install", "is_stuck", "setup"]
