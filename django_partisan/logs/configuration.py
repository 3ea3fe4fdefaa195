"""Set up logging for ``--log-format`` and ``--log-file``: one handler on the logger ``django_partisan``."""

import errno
import logging
import os
import sys
from contextlib import suppress
from typing import Any, Final

from django_partisan.config import observability
from django_partisan.config.queues import DEFAULT_QUEUE
from django_partisan.exceptions import CannotStart
from django_partisan.logs.console import ConsoleFormatter
from django_partisan.logs.ecs import EcsFormatter, NestedFormatter
from django_partisan.logs.exporting import forwarding, is_exporting
from django_partisan.logs.handlers import AppendingHandler, LineHandler, StandardStreamHandler
from django_partisan.logs.log_event import APP, MANAGER
from django_partisan.logs.subscriber import LOGGER, LogSubscriber, output
from django_partisan.telemetry import bus, swallowed

FORMATS: Final = ("auto", "host", "ecs", "json", "console")
STDLIBS_LAST_RESORT: Final = logging.lastResort
PRINT_SECONDS: Final = 0.5
"""How long a command waits at most for a reader of standard error."""

_subscriber: Final = LogSubscriber()


def install() -> None:
    """Log this process's events from now on, without changing the project's logging."""
    of_application = logging.getLogger(f"{LOGGER}.{APP}")
    if not of_application.handlers:
        # Without any logging set up, the last-resort handler would print a failed enqueueing, for which the
        # caller gets an exception anyway.
        of_application.addHandler(logging.NullHandler())
    bus.subscribe(_subscriber)


def setup(
    role: str,
    log_format: str = "auto",
    log_file: str | os.PathLike[str] | None = None,
    queue: str = DEFAULT_QUEUE,
) -> None:
    """Set up logging in a process of ``start_partisan``, whose ``role`` is ``manager`` or ``worker``.

    ``auto`` is ``host``, which changes nothing, if logging is set up and no file is given; otherwise it is
    ``console``. Raises ``CannotStart`` for an unknown format, for ``host`` with a file, and in a manager for
    a file that cannot be opened. A worker starts without the file, and its lines are counted as lost.
    """
    chosen = resolve(log_format, log_file)
    if chosen != "host":
        handler = StandardStreamHandler(1) if log_file is None else AppendingHandler(log_file)
        if role == MANAGER and isinstance(handler, AppendingHandler):
            _open(handler, log_file)
        handler.setFormatter(_formatter(chosen, to_standard_output=log_file is None))
        _put(handler)
    output.is_ours = chosen != "host"
    _report_errors_without_waiting()
    _subscriber.set_role(role, queue)
    install()
    bus.refresh()


def print_line(line: str, stream: Any) -> None:
    """Write a line of a command's output; to standard error, wait up to ``PRINT_SECONDS`` for its reader."""
    last_resort = logging.lastResort
    if isinstance(last_resort, StandardStreamHandler) and _is_standard_error(stream):
        last_resort.write_line(line)
        last_resort.writer.drain(PRINT_SECONDS)
    else:
        stream.write(f"{line}\n")


def _is_standard_error(stream: Any) -> bool:
    with suppress(OSError, ValueError):  # closed, or a stream in memory
        return bool(stream.fileno() == 2)
    return False


def is_stuck() -> bool:
    """Return whether a handler or an export had not finished when this process ended its logging.

    It may hold locks that a normal exit of the interpreter would wait for.
    """
    return _subscriber.is_stuck


def resolve(log_format: str, log_file: str | os.PathLike[str] | None = None) -> str:
    """Return the format to use for the option ``log_format``; raises ``CannotStart``."""
    if log_format not in FORMATS:
        raise CannotStart(f"--log-format is {log_format!r}; expected one of {', '.join(FORMATS)}.")
    if log_format == "host" and log_file is not None:
        raise CannotStart(
            "--log-file cannot be used with --log-format host, because your LOGGING decides where lines are "
            "written. Choose another --log-format."
        )
    if log_format != "auto":
        return log_format
    is_set_up = any(
        not isinstance(handler, logging.NullHandler) and not is_exporting(handler)
        for handler in logging.getLogger(LOGGER).handlers + logging.root.handlers
    )
    return "host" if is_set_up and log_file is None else "console"


def _open(handler: AppendingHandler, log_file: str | os.PathLike[str] | None) -> None:
    try:
        handler.open()
    except OSError as error:
        reason = f"{error.strerror}. Choose a file that can be written."
        if error.errno == errno.ENXIO:
            reason = "nobody reads this FIFO. Start its reader first."
        raise CannotStart(f"--log-file {log_file}: {reason}") from error


def _report_errors_without_waiting() -> None:
    """Report the library's errors without waiting for a reader of standard error."""
    if logging.lastResort is STDLIBS_LAST_RESORT:  # the project has not replaced it
        logging.lastResort = StandardStreamHandler(2)
    if isinstance(logging.lastResort, StandardStreamHandler):
        swallowed.report = logging.lastResort.write_line


def _formatter(log_format: str, to_standard_output: bool) -> logging.Formatter:
    max_bytes = observability.value("LOG_MAX_LINE_BYTES")
    if log_format == "console":
        colors = to_standard_output and sys.__stdout__ is not None and os.isatty(1)
        return ConsoleFormatter(colors, max_bytes)
    return EcsFormatter(max_bytes) if log_format == "ecs" else NestedFormatter(max_bytes)


def _put(handler: LineHandler) -> None:
    """Make ``handler`` the only one for our loggers, except for handlers that export lines.

    Levels that the project has set are kept.
    """
    for logger in _our_loggers():
        for old in list(logger.handlers):
            logger.removeHandler(old)
            if isinstance(old, LineHandler):
                old.close()
        logger.disabled = False
        logger.propagate = logger.name != LOGGER
    top = logging.getLogger(LOGGER)
    for one in (handler, *forwarding()):
        top.addHandler(one)
    if top.level == logging.NOTSET:
        top.setLevel(logging.INFO)


def _our_loggers() -> list[logging.Logger]:
    known = {LOGGER: logging.getLogger(LOGGER), **logging.root.manager.loggerDict}
    return [
        logger
        for name, logger in known.items()
        if f"{name}.".startswith(f"{LOGGER}.") and isinstance(logger, logging.Logger)
    ]
