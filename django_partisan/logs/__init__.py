"""Events as log lines, on loggers of the standard library, for any host's ``LOGGING``.

Importing this configures nothing; ``setup()`` does, and only processes of ``start_partisan`` call it.
"""

from django_partisan.logs.setting_up import FORMATS, install, is_stuck, say, setup
from django_partisan.logs.subscriber import LogSubscriber, task_logger
from django_partisan.logs.table import LOG_EVENTS

__all__ = ["FORMATS", "LOG_EVENTS", "LogSubscriber", "install", "is_stuck", "say", "setup", "task_logger"]
