"""The table of all log events, which the code, documentation and tests use.

Importing the modules declares their log events, in the order of the documentation.
"""

import django_partisan.logs.task_events  # isort: split

import django_partisan.logs.run_events  # isort: split

import django_partisan.logs.queue_events  # isort: split

import django_partisan.logs.operator_events  # isort: split

import django_partisan.logs.schedule_events  # isort: split

import django_partisan.logs.worker_events  # isort: split

import django_partisan.logs.manager_events  # isort: split

import django_partisan.logs.telemetry_events  # noqa: F401
from django_partisan.logs.log_event import LOG_EVENTS

__all__ = ["LOG_EVENTS"]
