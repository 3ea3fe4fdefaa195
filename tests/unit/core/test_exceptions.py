"""What a task raises to speak to the library, and what the library raises."""

import pickle

import pytest

from django_partisan import exceptions
from django_partisan.exceptions import PartisanError, PostponeTask

OWN = [
    exceptions.MaxPostponesReached,
    exceptions.ProcessorClassAlreadyRegistered,
    exceptions.ProcessorClassNotFound,
    exceptions.UnknownQueue,
    exceptions.WrongSetting,
    exceptions.CannotStart,
    exceptions.ClaimLost,
    exceptions.WorkerLost,
    exceptions.Unsettleable,
]


def test_a_task_may_ask_for_a_delay_and_give_a_reason():
    request = PostponeTask(300, reason="the file is not there yet")

    assert request.postpone_for_seconds == 300
    assert request.reason == "the file is not there yet"


def test_a_task_may_leave_the_delay_to_its_queue():
    assert PostponeTask().postpone_for_seconds is None


def test_a_request_to_postpone_survives_pickling():
    request = pickle.loads(pickle.dumps(PostponeTask(0, "soon")))

    assert (request.postpone_for_seconds, request.reason) == (0, "soon")


@pytest.mark.parametrize("kind", OWN)
def test_all_errors_of_the_library_have_one_base(kind):
    assert issubclass(kind, PartisanError)
    assert not issubclass(PostponeTask, PartisanError)


def test_errors_are_also_what_python_calls_them():
    assert issubclass(exceptions.UnknownQueue, ValueError)
    assert issubclass(exceptions.WrongSetting, ValueError)
    assert issubclass(exceptions.ProcessorClassNotFound, LookupError)
