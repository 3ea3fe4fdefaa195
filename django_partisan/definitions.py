"""The definition of one kind of task: its name, its options, and how to call its code."""

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Final

from django_partisan import calling
from django_partisan.config.processor_configs import ErrorsHandleConfig, PostponeConfig

KEEP_FINISHED: Final = "KEEP_FINISHED_SECONDS"
KEEP_FAILED: Final = "KEEP_FAILED_SECONDS"
RETRY: Final = "RETRY_ON_ERROR_CONFIG"
_AS_THE_QUEUE: Final[Any] = object()


@dataclass(frozen=True, slots=True)
class TaskDefinition:
    """The name, the options and the code of one kind of task.

    ``call(args, kwargs, current)`` runs the code with decoded arguments until it ends, even a coroutine
    function, and returns its result; ``current`` is the ``CurrentTask``. ``source`` is the class or function
    that the definition was made from: signals send it as ``sender``, and custom metrics read ``MEASURES``
    from it.
    """

    name: str
    source: Callable[..., Any]
    call: Callable[[list[Any], dict[str, Any], Any], Any]
    queue: str
    priority: int
    unique: bool
    atomic: bool
    retry: ErrorsHandleConfig | None
    """Which errors lead to a retry, unless ``retries_as_queue``."""
    postpone: PostponeConfig | None
    propagation: str | None
    retries_as_queue: bool = False
    """Whether ``DEFAULT_RETRY`` of the queue defines which errors lead to a retry."""
    may_retry: bool = True
    """Whether ``RetryTask`` leads to a retry even if the task has no retry rule."""
    keeps_result: bool = False
    """Whether the row of a completed task is kept, with the value that its code returned."""
    pause_before_retry: Callable[[BaseException, Any], float] | None = None
    """Returns the seconds before a retry from the error and the ``CurrentTask``; ``None``: use ``retry``."""
    ended: Callable[[Any, str | None, Any], None] | None = None
    """Called in the worker when the task has completed or failed, with the ``CurrentTask``, the result as
    JSON text or ``None``, and the ``ErrorInfo`` or ``None``."""
    keep_finished: float | None = None
    keep_failed: float | None = None
    """How many seconds rows are kept; ``math.inf``: forever, ``None``: use the queue's setting."""
    timeout: float | None = None
    """The time limit of a run in seconds; ``math.inf``: no limit, ``None``: use the queue's limit."""
    expires: float | None = None
    """How many seconds after it is due a task expires, unless the call overrides it; ``None``: never."""
    takes_context: bool = False
    """Whether the first parameter of ``source`` is the task context, not an argument of the task."""

    def retry_in(self, default_retry: ErrorsHandleConfig | None) -> ErrorsHandleConfig | None:
        """Return the retry rule in a queue with this ``DEFAULT_RETRY``; ``None`` if no error is retried."""
        return default_retry if self.retries_as_queue else self.retry

    def run_limit(self, default: float | None) -> float:
        """Return the time limit of a run in seconds, or ``math.inf``; ``default`` is the queue's limit."""
        limit = default if self.timeout is None else self.timeout
        return math.inf if limit is None else limit

    @classmethod
    def of_processor(cls, processor_class: type[Any]) -> "TaskDefinition":
        """Make the definition of a processor class from its attributes.

        Raises ``UnsupportedRunMethod`` if ``run()`` is a generator function.
        """
        is_asynchronous = calling.is_asynchronous(processor_class)

        def call(args: list[Any], kwargs: dict[str, Any], current: Any) -> Any:
            processor = processor_class(*args, **kwargs)
            processor._current = current
            result = calling.run_asynchronously(processor.run) if is_asynchronous else processor.run()
            if result is not None:
                calling.ensure_executed(f"{processor_class.__name__}.run()", result)
            return result

        return cls(
            name=processor_class.__name__,
            source=processor_class,
            call=call,
            queue=processor_class.QUEUE_NAME,
            priority=processor_class.PRIORITY,
            unique=processor_class.UNIQUE_FOR_PARAMS,
            atomic=processor_class.ATOMIC,
            retry=processor_class.RETRY_ON_ERROR_CONFIG,
            retries_as_queue=not _sets(processor_class, RETRY),
            postpone=processor_class.POSTPONE_CONFIG,
            propagation=processor_class.TRACE_PROPAGATION,
            keeps_result=processor_class.KEEP_RESULT,
            keep_finished=_kept_seconds(processor_class, KEEP_FINISHED),
            keep_failed=_kept_seconds(processor_class, KEEP_FAILED),
            timeout=processor_class.TIMEOUT_SECONDS,
            expires=processor_class.EXPIRES_SECONDS,
        )


def _sets(processor_class: type[Any], attribute: str) -> bool:
    """Return whether a class or one of its bases overrides an attribute of ``BaseTaskProcessor``."""
    return sum(attribute in vars(one) for one in processor_class.__mro__) > 1


def _kept_seconds(processor_class: type[Any], attribute: str) -> float | None:
    """Return the seconds for which rows are kept; ``None`` if not set, ``math.inf`` if set to ``None``."""
    kept: float | None = getattr(processor_class, attribute, _AS_THE_QUEUE)
    if kept is _AS_THE_QUEUE:
        return None
    return math.inf if kept is None else kept
