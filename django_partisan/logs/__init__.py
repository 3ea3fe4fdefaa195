"""Log events on loggers of the standard library, so that any project's ``LOGGING`` setting applies.

Importing this package configures nothing. ``setup()`` does; only processes of ``start_partisan`` call it.
"""

from django_partisan.logs.configuration import FORMATS, install, is_stuck, print_line, setup
from django_partisan.logs.console import ConsoleFormatter
from django_partisan.logs.ecs import EcsFormatter, NestedFormatter
from django_partisan.logs.running_task import TaskFilter, add_running_task
from django_partisan.logs.subscriber import LogSubscriber, task_logger
from django_partisan.logs.table import LOG_EVENTS

__all__ = [
    "FORMATS",
    "LOG_EVENTS",
    "ConsoleFormatter",
    "EcsFormatter",
    "LogSubscriber",
    "NestedFormatter",
    "TaskFilter",
    "add_running_task",
    "install",
    "is_stuck",
    "print_line",
    "setup",
    "task_logger",
]
