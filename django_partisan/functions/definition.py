"""Build and register the task definition of a function, including how a worker calls it."""

from functools import partial
from inspect import iscoroutinefunction
from typing import Any, Final

from django_partisan import calling, registry
from django_partisan.config import task_backends
from django_partisan.definitions import TaskDefinition
from django_partisan.functions import attempts, priorities, run_signals
from django_partisan.functions.context import TaskContext
from django_partisan.functions.framework import AnyTask, InvalidTask, as_stored
from django_partisan.functions.options import options_of
from django_partisan.functions.run_result import RunTaskResult, begin
from django_partisan.names import PROCESSOR_NAME_MAX_LENGTH

_tasks: Final[dict[str, AnyTask]] = {}
"""The tasks by the path of their function, as they were defined: without changes made by ``using()``."""


def register(task: AnyTask) -> TaskDefinition:
    """Register a task's function under its path, unless it is registered already; return its definition.

    Raises ``InvalidTask`` if its options are invalid, or if the path is too long for the table.
    """
    name = task.module_path
    known = registry.find(name)
    if known is not None and known.source is task.func:
        return known
    if len(name) > PROCESSOR_NAME_MAX_LENGTH:
        raise InvalidTask(
            f"The path {name!r} has {len(name)} characters; expected at most {PROCESSOR_NAME_MAX_LENGTH}."
        )
    definition = _definition(task)
    registry.add(definition)
    _tasks[name] = task
    return definition


def register_if_task(candidate: Any) -> None:
    """Register an object if it is a task, even one that was defined for another backend.

    A call with ``using(backend=...)`` stores only the path of the function, not the backend of its task.
    """
    alias = next(iter(task_backends.partisan_backends()), None)
    if alias is not None and isinstance(candidate, AnyTask):  # type: ignore[misc] # not generic when it runs
        register(as_stored(candidate, backend=alias))


registry.finders.append(register_if_task)


def task_of(name: str) -> AnyTask | None:
    """Return the task whose function has this path, importing its module if necessary.

    Return ``None`` if there is no such task.
    """
    if name not in _tasks:
        registry.find_or_import(name)
    return _tasks.get(name)


def _definition(task: AnyTask) -> TaskDefinition:
    options = options_of(task)
    function, name = task.func, task.module_path
    is_asynchronous, takes_context = iscoroutinefunction(function), task.takes_context
    run = partial(calling.run_asynchronously, function) if is_asynchronous else function

    def call(args: list[Any], kwargs: dict[str, Any], current: Any) -> Any:
        begin(current)
        if takes_context or run_signals.is_start_received():
            result = RunTaskResult.of(task, current)
            run_signals.started(result)
            if takes_context:
                if is_asynchronous:
                    result.read()
                args = [TaskContext(task_result=result, scheduled_for=current.scheduled_for), *args]
        value = run(*args, **kwargs)
        if value is not None:
            calling.ensure_executed(f"{name}()", value)
        return value

    def pause_before_retry(error: BaseException, current: Any) -> float:
        return attempts.pause(options.backoff, error, RunTaskResult.of(task, current))

    def ended(current: Any, value: str | None, error: Any) -> None:
        if run_signals.is_end_received(has_failed=error is not None):
            run_signals.finished(RunTaskResult.of(task, current).ended(value, error))

    return TaskDefinition(
        name=name,
        source=function,
        call=call,
        queue=task.queue_name,
        priority=priorities.stored(task.priority),
        unique=bool(options.unique),
        atomic=bool(options.atomic),
        retry=options.retry or attempts.retry_config(options.max_attempts),
        may_retry=options.max_attempts != 1,
        postpone=None,
        propagation=None,
        timeout=options.timeout,
        takes_context=takes_context,
        keeps_result=True,
        pause_before_retry=None if options.backoff is None else pause_before_retry,
        ended=ended,
    )
