"""The table of all log events, which the code, the documentation and the tests read.

Importing the modules declares their log events, in the order in which the documentation lists them.
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
