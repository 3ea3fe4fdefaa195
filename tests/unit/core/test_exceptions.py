"""Exceptions that a task raises to control its run, and exceptions that the library raises."""

import pickle

import pytest

from django_partisan import exceptions
from django_partisan.exceptions import PartisanError, PostponeTask

OWN = [
    exceptions.MaxPostponesReached,
    exceptions.ProcessorClassAlreadyRegistered,
    exceptions.ProcessorClassNotFound,
    exceptions.UnsupportedRunMethod,
    exceptions.RunNotExecuted,
    exceptions.UnknownQueue,
    exceptions.WrongSetting,
    exceptions.CannotStart,
    exceptions.ClaimLost,
    exceptions.WorkerLost,
    exceptions.Unsettleable,
]


@pytest.mark.parametrize("given", [(300, "the file is not there yet"), (0, "soon"), (None, None)])
def test_a_request_to_postpone_has_a_delay_and_a_reason_or_none_and_survives_pickling(given):
    request = pickle.loads(pickle.dumps(PostponeTask(*given)))

    assert (request.postpone_for_seconds, request.reason) == given


@pytest.mark.parametrize("kind", OWN)
def test_all_errors_of_the_library_have_one_base(kind):
    assert issubclass(kind, PartisanError)
    assert not issubclass(PostponeTask, PartisanError)


def test_errors_are_also_what_python_calls_them():
    assert issubclass(exceptions.UnknownQueue, ValueError)
    assert issubclass(exceptions.WrongSetting, ValueError)
    assert issubclass(exceptions.ProcessorClassNotFound, LookupError)
    assert issubclass(exceptions.UnsupportedRunMethod, TypeError)
    assert issubclass(exceptions.RunNotExecuted, TypeError)
