"""What the library knows about one kind of task: its options, and how to call its code."""

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
    """The name of a kind of task, its options and its code.

    ``call(args, kwargs, current)`` runs the code to its end with decoded arguments, also that of a
    coroutine function, and returns what it returned; ``current`` is the ``CurrentTask``. ``source`` is the
    class or function that the definition was made from: signals send it as ``sender``, custom metrics read
    ``MEASURES`` from it.
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
    """Whether ``DEFAULT_RETRY`` of the queue says which errors lead to a retry."""
    may_retry: bool = True
    """Whether ``RetryTask`` retries a task without a rule for errors."""
    keeps_result: bool = False
    """Whether the row of a completed task is kept, with what its code returned."""
    pause_before_retry: Callable[[BaseException, Any], float] | None = None
    """Returns the seconds before a retry, from the error and the ``CurrentTask``; else ``retry`` says it."""
    ended: Callable[[Any, str | None, Any], None] | None = None
    """Called in the worker when the task has completed or failed, with the ``CurrentTask``, what the code
    returned, as JSON text, and the ``ErrorInfo`` or ``None``."""
    keep_finished: float | None = None
    keep_failed: float | None = None
    """For how many seconds rows are kept; ``math.inf``: forever, ``None``: as the queue says."""
    timeout: float | None = None
    """The time limit of a run in seconds: ``None`` for that of the queue, ``math.inf`` for none."""
    expires: float | None = None
    """How many seconds after it is due a task expires, unless the call says it; ``None``: never."""
    takes_context: bool = False
    """Whether the first parameter of ``source`` is none of the arguments."""

    def retry_in(self, default_retry: ErrorsHandleConfig | None) -> ErrorsHandleConfig | None:
        """Return which errors lead to a retry in a queue with this ``DEFAULT_RETRY``."""
        return default_retry if self.retries_as_queue else self.retry

    def run_limit(self, default: float | None) -> float:
        """Return the time limit of a run in seconds, where ``default`` is the queue's; infinite if none."""
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
    """Return whether a class or its bases set an attribute that the base class of all processors has."""
    return sum(attribute in vars(one) for one in processor_class.__mro__) > 1


def _kept_seconds(processor_class: type[Any], attribute: str) -> float | None:
    """Return an attribute that is not on the base class: ``None`` there means forever."""
    kept: float | None = getattr(processor_class, attribute, _AS_THE_QUEUE)
    if kept is _AS_THE_QUEUE:
        return None
    return math.inf if kept is None else kept
