"""Events describe errors with plain values, whatever the error is."""

import pickle

from django_partisan.telemetry.events.tasks import TaskClaimLost
from django_partisan.telemetry.events.values import ErrorInfo, TaskRef


class Broken(Exception):
    def __str__(self) -> str:
        raise RuntimeError("no words")


def test_an_error_of_python_is_named_without_its_module():
    assert ErrorInfo.of(KeyError("a")).type == "KeyError"


def test_an_error_of_a_package_is_named_with_its_module_and_class():
    class Inner(Exception):
        pass

    assert ErrorInfo.of(Inner()).type == (
        f"{__name__}.test_an_error_of_a_package_is_named_with_its_module_and_class.<locals>.Inner"
    )


def test_an_error_is_described_by_message_and_traceback_with_its_cause():
    try:
        try:
            raise ValueError("first")
        except ValueError as first:
            raise OSError("second") from first
    except OSError as error:
        info = ErrorInfo.of(error)

    assert info.message == "second"
    assert info.stack_trace.index("ValueError: first") < info.stack_trace.index("OSError: second")


def test_an_error_that_cannot_describe_itself_is_described_by_its_class_and_handed_on():
    error = Broken()

    message = "<no message: RuntimeError raised by its __str__>"
    assert ErrorInfo.of(error) == ErrorInfo(f"{__name__}.Broken", message, "", error)


def test_events_are_plain_values():
    event = TaskClaimLost(TaskRef(1, "Letter", "mail", 10, 1, 0, 0))

    assert pickle.loads(pickle.dumps(event)) == event
