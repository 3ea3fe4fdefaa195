"""The exceptions that the library raises, and those that a task raises to be postponed or retried."""

from django_partisan.outcomes import REASON_RESULT_NOT_JSON, REASON_RESULT_TOO_LARGE


class PartisanError(Exception):
    """The base class of the errors that the library raises."""


class PostponeTask(Exception):
    """Raise inside ``run()`` to run the task again later.

    ``postpone_for_seconds`` is the delay; without it, the queue's ``DEFAULT_POSTPONE_DELAY_SECONDS``
    is used. ``reason`` is logged.
    """

    def __init__(self, postpone_for_seconds: float | None = None, reason: str | None = None) -> None:
        super().__init__(postpone_for_seconds, reason)
        self.postpone_for_seconds = postpone_for_seconds
        self.reason = reason


class RetryTask(Exception):
    """Raise inside ``run()`` to retry the task, whatever errors its processor lists.

    It counts as a retry; a task without a retry rule has 3 retries. ``seconds`` is the minimum delay before
    the next run; without it, the delay is the same as for an error on the list. ``error``, an exception or an
    exception class, is stored and logged instead of this exception. Raises ``TypeError`` if it is neither.
    """

    def __init__(
        self, seconds: float | None = None, error: BaseException | type[BaseException] | None = None
    ) -> None:
        if isinstance(error, type) and issubclass(error, BaseException):
            error = error()
        if error is not None and not isinstance(error, BaseException):
            raise TypeError(f"RetryTask: error is {error!r}; expected an exception or an exception class.")
        super().__init__(seconds, error)
        self.seconds = seconds
        self.error = error


class MaxPostponesReached(PartisanError):
    """A task asked to be postponed more often than its processor or queue allows, and so fails."""


class ProcessorClassAlreadyRegistered(PartisanError):
    """Two processor classes have the same name; a task's row could not say which of them it means."""


class ProcessorClassNotFound(PartisanError, LookupError):
    """A class is not registered, or no class is registered under the name in a task's row."""


class NotAProcessor(PartisanError, TypeError):
    """An object is not a processor class, or not an instance of one, where one is required."""


class ProcessorNotInitialized(PartisanError, AttributeError):
    """``__init__()`` of a processor class does not call ``BaseTaskProcessor.__init__()``."""


class UnregisteredTask(ProcessorClassNotFound):
    """No processor is registered under the name of a task.

    A task that was held for ``UNREGISTERED_GRACE_SECONDS`` fails with this error.
    """


class UnsupportedRunMethod(PartisanError, TypeError):
    """``run()`` of a processor class is missing, needs arguments, or is a generator function."""


class RunNotExecuted(PartisanError, TypeError):
    """A run returned a coroutine, another awaitable, or a generator, whose code was not executed."""


class UnknownQueue(PartisanError, ValueError):
    """The settings do not define a queue of the given name."""


class UnknownSchedule(PartisanError, LookupError):
    """There is no schedule of the given name."""


class WrongSetting(PartisanError, ValueError):
    """A setting is unknown, or has a value that is not accepted."""


class CannotStart(PartisanError):
    """``start_partisan`` cannot start; the message gives the problem and the remedy.

    ``problem`` and ``remedy`` are the two parts of the message; ``remedy`` is empty if they are not separate.
    """

    def __init__(self, problem: str, remedy: str = "") -> None:
        super().__init__(f"{problem} {remedy}".rstrip())
        self.problem = problem
        self.remedy = remedy


class ClaimLost(PartisanError):
    """Our manager no longer has the claim on a running task, so the task's transaction must not commit."""


class WorkerLost(PartisanError):
    """Worker processes died while they ran a task more often than ``MAX_CRASHES`` allows."""


class UnstorableResult(PartisanError):
    """A run returned a value that cannot be stored, so its task fails; ``reason`` says why."""

    reason = ""


class ResultNotJSON(UnstorableResult, TypeError):
    """A run returned a value that PostgreSQL's JSON cannot store."""

    reason = REASON_RESULT_NOT_JSON


class ResultTooLarge(UnstorableResult, ValueError):
    """A run returned a value that is too large for the row of a task."""

    reason = REASON_RESULT_TOO_LARGE


class TaskTimeout(PartisanError, TimeoutError):
    """Raised inside ``run()`` when the run has lasted longer than its time limit.

    It is a ``TimeoutError``, so ``retry_on_errors=[TimeoutError]`` covers it.
    """


class TaskCancelled(BaseException):
    """Raised inside ``run()`` when the task is cancelled; ``except Exception`` does not catch it.

    The task is cancelled even if the run catches it.
    """


class TaskExpired(PartisanError):
    """A task had not started when it expired, so it ends without a run."""


class Unsettleable(PartisanError):
    """PostgreSQL refused to store the original outcome of a run."""
