"""OpenTelemetry spans for every step of a task.

Importing this package configures nothing; ``setup()`` does, and only processes of ``start_partisan`` call it.
"""

from django_partisan.tracing.installation import install, is_stuck, setup
from django_partisan.tracing.subscriber import TracingSubscriber

__all__ = ["TracingSubscriber", "install", "is_stuck", "setup"]
