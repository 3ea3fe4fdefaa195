"""Check where a manager's log lines are written, and that they are written in full."""

import logging
import os
import select
from collections.abc import Iterator
from pathlib import Path

from django_partisan.config import observability
from django_partisan.doctor.finding import ERROR, FINE, WARNING, Finding, Subject
from django_partisan.logs.configuration import resolve
from django_partisan.logs.ecs import service_fields
from django_partisan.logs.subscriber import LOGGER


def check(subject: Subject) -> Iterator[Finding]:
    """Resolve format and file like a manager; check level, file and length. Raises ``CannotStart``."""
    chosen = resolve(subject.log_format, subject.log_file)
    to = subject.log_file or ("the handlers in LOGGING" if chosen == "host" else "standard output")
    service = service_fields().get("service.name")
    named = f"service.name is {service!r}" if service else "set OTEL_SERVICE_NAME to name the service"
    yield Finding(FINE, f"Log lines go to {to} in the format {chosen}; {named}.")
    logger = logging.getLogger(LOGGER)
    level = logger.getEffectiveLevel() if chosen == "host" else logger.level
    if level > logging.INFO:
        yield Finding(
            WARNING,
            f"The logger {LOGGER!r} is at {logging.getLevelName(level)}: completed tasks are not logged.",
            f"Give {LOGGER!r} the level INFO in LOGGING.",
        )
    if subject.log_file is not None:
        yield from _file(Path(subject.log_file))
    elif chosen not in ("console", "host"):
        yield from _length()


def _file(path: Path) -> Iterator[Finding]:
    target = path if path.exists() else path.parent
    if not os.access(target, os.W_OK):
        message = f"{target} is not writable by this user."
        yield Finding(ERROR, message, f"Create it, or give this user permission to write to {target}.")


def _length() -> Iterator[Finding]:
    longest = observability.value("LOG_MAX_LINE_BYTES")
    if longest > select.PIPE_BUF:
        yield Finding(
            WARNING,
            f"LOG_MAX_LINE_BYTES is {longest}; a shared pipe can split lines above {select.PIPE_BUF} bytes.",
            f"Lower it to {select.PIPE_BUF} or less, or write to a file with --log-file.",
        )
