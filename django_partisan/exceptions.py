"""The errors that the library raises, and what a task raises to ask for something."""

from django_partisan.outcomes import REASON_RESULT_NOT_JSON, REASON_RESULT_TOO_LARGE


class PartisanError(Exception):
    """Base of the errors the library raises."""


class PostponeTask(Exception):
    """Raise inside ``run()`` to have the task run again later.

    ``postpone_for_seconds`` is the delay; without it the queue's ``DEFAULT_POSTPONE_DELAY_SECONDS``
    is used. ``reason`` is logged.
    """

    def __init__(self, postpone_for_seconds: float | None = None, reason: str | None = None) -> None:
        super().__init__(postpone_for_seconds, reason)
        self.postpone_for_seconds = postpone_for_seconds
        self.reason = reason


class RetryTask(Exception):
    """Raise inside ``run()`` to have the task retried, whatever errors its processor lists.

    It counts as a retry; a task without a rule for errors has 3. ``seconds`` is the shortest pause before the
    next run; without it, the pause is that of an error on the list. ``error``, an exception or its class, is
    stored and logged instead of this exception. Raises ``TypeError`` if it is neither.
    """

    def __init__(
        self, seconds: float | None = None, error: BaseException | type[BaseException] | None = None
    ) -> None:
        if isinstance(error, type) and issubclass(error, BaseException):
            error = error()
        if error is not None and not isinstance(error, BaseException):
            raise TypeError(f"RetryTask got the error {error!r}; expected an exception, or the class of one.")
        super().__init__(seconds, error)
        self.seconds = seconds
        self.error = error


class MaxPostponesReached(PartisanError):
    """A task asked to be postponed more often than its processor or queue allows: it fails."""


class ProcessorClassAlreadyRegistered(PartisanError):
    """Two processor classes have one name; a task's row could not say which it means."""


class ProcessorClassNotFound(PartisanError, LookupError):
    """A class is not registered, or no registered class has the name that a task's row carries."""


class NotAProcessor(PartisanError, TypeError):
    """A processor class was expected, or an object of one."""


class ProcessorNotInitialized(PartisanError, AttributeError):
    """``__init__()`` of a processor class does not call ``BaseTaskProcessor.__init__()``."""


class UnregisteredTask(ProcessorClassNotFound):
    """A task was held for ``UNREGISTERED_GRACE_SECONDS``, and no manager knows its processor: it fails."""


class UnsupportedRunMethod(PartisanError, TypeError):
    """``run()`` of a processor class is missing, needs arguments, or is a generator function."""


class RunNotExecuted(PartisanError, TypeError):
    """A run returned a coroutine, another awaitable, or a generator, whose code was not executed."""


class UnknownQueue(PartisanError, ValueError):
    """A queue is named that the settings do not define."""


class UnknownSchedule(PartisanError, LookupError):
    """A schedule is named that does not exist."""


class WrongSetting(PartisanError, ValueError):
    """A setting is unknown, or has a value that cannot work."""


class CannotStart(PartisanError):
    """``start_partisan`` refuses to serve; the message says why and what to do.

    ``problem`` and ``cure`` are the two parts of the message, where they are known apart.
    """

    def __init__(self, problem: str, cure: str = "") -> None:
        super().__init__(f"{problem} {cure}".rstrip())
        self.problem = problem
        self.cure = cure


class ClaimLost(PartisanError):
    """The claim under which a task ran is no longer ours, so its transaction must not commit."""


class WorkerLost(PartisanError):
    """A worker process died while it ran the task, more often than ``MAX_CRASHES`` allows."""


class UnstorableResult(PartisanError):
    """What a run returned cannot be stored: its task fails; ``reason`` says why."""

    reason = ""


class ResultNotJSON(UnstorableResult, TypeError):
    """A run returned a value that PostgreSQL's JSON cannot hold."""

    reason = REASON_RESULT_NOT_JSON


class ResultTooLarge(UnstorableResult, ValueError):
    """A run returned more than fits into the row of a task."""

    reason = REASON_RESULT_TOO_LARGE


class TaskTimeout(PartisanError, TimeoutError):
    """Raised inside ``run()`` when the run has lasted longer than its time limit.

    It is a ``TimeoutError``, so ``retry_on_errors=[TimeoutError]`` covers it.
    """


class TaskCancelled(BaseException):
    """Raised inside ``run()`` when somebody cancels the task; no ``except Exception`` catches it.

    A run that catches it is cancelled all the same.
    """


class TaskExpired(PartisanError):
    """A task had not started when it expired: it ends without a run."""


class Unsettleable(PartisanError):
    """PostgreSQL refused to store a run's outcome as it was."""
