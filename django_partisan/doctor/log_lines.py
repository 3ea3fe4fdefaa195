"""Where do a manager's log lines go, and do they get there whole?"""

import logging
import os
import select
from collections.abc import Iterator
from pathlib import Path
from typing import Final

from django_partisan.config import observability
from django_partisan.doctor.finding import ERROR, FINE, WARNING, Finding
from django_partisan.doctor.subject import Subject
from django_partisan.exceptions import CannotStart
from django_partisan.logs.service import service_fields
from django_partisan.logs.setting_up import CONSOLE, HOST, resolve
from django_partisan.logs.subscriber import LOGGER

NAME: Final = "logs"


def look(subject: Subject) -> Iterator[Finding]:
    """Resolve format and file as a manager would, and look at level, folder and length."""
    try:
        chosen = resolve(subject.log_format, subject.log_file)
    except CannotStart as error:
        yield Finding(NAME, ERROR, str(error))
        return
    to = subject.log_file or ("your LOGGING's handlers" if chosen == HOST else "standard output")
    service = service_fields().get("service.name")
    named = f"service.name is {service!r}" if service else "OTEL_SERVICE_NAME would name the service"
    yield Finding(NAME, FINE, f"Format {chosen}, to {to}; {named}.")
    yield from _level(chosen)
    if subject.log_file is not None:
        yield from _file(Path(subject.log_file))
    elif chosen not in (CONSOLE, HOST):
        yield from _length()


def _level(chosen: str) -> Iterator[Finding]:
    logger = logging.getLogger(LOGGER)
    level = logger.getEffectiveLevel() if chosen == HOST else logger.level
    if level > logging.INFO:
        yield Finding(
            NAME,
            WARNING,
            f"The logger {LOGGER!r} is at {logging.getLevelName(level)}: completed tasks leave no line.",
            f"Give {LOGGER!r} the level INFO in LOGGING.",
        )


def _file(path: Path) -> Iterator[Finding]:
    target = path if path.exists() else path.parent
    if not os.access(target, os.W_OK):
        yield Finding(
            NAME,
            ERROR,
            f"{target} cannot be written by this user.",
            f"Create it, or let this user write {target}.",
        )


def _length() -> Iterator[Finding]:
    longest = observability.value("LOG_MAX_LINE_BYTES")
    if longest > select.PIPE_BUF:
        yield Finding(
            NAME,
            WARNING,
            f"LOG_MAX_LINE_BYTES is {longest}; on a shared pipe lines above {select.PIPE_BUF} bytes tear.",
            f"Lower it to {select.PIPE_BUF} or less, or write to a file with --log-file.",
        )
