"""Parts of messages that several log events share."""

from django_partisan.telemetry.events import ErrorInfo, Run, TaskRef

_QUOTED_MAX = 200


def named(task: TaskRef | Run) -> str:
    """Return a task's id and processor."""
    return f"Task {task.id} ({task.processor})"


def counted(number: int, what: str = "task") -> str:
    """Return a number and a noun, in the plural if it needs one."""
    return f"{number} {what}" if number == 1 else f"{number} {what}s"


def quoted(error: ErrorInfo) -> str:
    """Return an error's class and the beginning of its message."""
    kind = error.type.rpartition(".")[2]
    message = error.message.strip()
    return f"{kind}: {beginning(message)}" if message else kind


def beginning(text: str) -> str:
    """Return the first line of ``text``, cut to 200 characters, with a mark if anything is missing."""
    first, *more = text.splitlines() or [""]
    return first if not more and len(first) <= _QUOTED_MAX else first[:_QUOTED_MAX] + "…"
