"""What workers could not run is refused at registration."""

import functools
from abc import ABC, abstractmethod
from typing import Any

import pytest

from django_partisan import registry
from django_partisan.exceptions import NotAProcessor, PartisanError, UnsupportedRunMethod
from django_partisan.processor import BaseTaskProcessor


def send_letter(to: str) -> None:
    """A function, as the tasks of other task queues are."""


class Plain:
    PRIORITY = 5

    def run(self) -> None:
        """A class that lacks only the base class."""


class Base(BaseTaskProcessor, ABC):
    @abstractmethod
    def run(self) -> None:
        """Abstract; subclasses implement it."""


@pytest.mark.parametrize(
    ("candidate", "named"),
    [
        (send_letter, "the function 'send_letter' in"),
        (Plain, "the class 'Plain' in"),
        (Plain(), "of type 'Plain'"),
        (None, "None of type 'NoneType'"),
        ("mail", "'mail' of type 'str'"),
    ],
)
def test_what_is_no_processor_is_refused_and_named(candidate, named):
    with pytest.raises(NotAProcessor) as refused:
        registry.register(candidate)

    assert named in str(refused.value)
    assert "expected a subclass of django_partisan.processor.BaseTaskProcessor" in str(refused.value)
    assert isinstance(refused.value, (PartisanError, TypeError))
    assert not registry.definitions


@pytest.mark.parametrize("candidate", [type("Empty", (BaseTaskProcessor,), {}), BaseTaskProcessor, Base])
def test_a_class_without_run_is_refused_with_the_remedy(candidate):
    with pytest.raises(
        UnsupportedRunMethod, match=rf"'{candidate.__name__}' in .* has no run\(\)"
    ) as refused:
        registry.register(candidate)

    assert "Define `def run(self)` or `async def run(self)`" in str(refused.value)
    assert not registry.definitions


@pytest.mark.parametrize(
    "run",
    [
        lambda self, to: None,
        staticmethod(lambda to: None),
        classmethod(lambda cls, *, to: None),
        functools.partialmethod(lambda self, to, text: None, "Ada"),
    ],
    ids=["function", "static", "of the class", "partial"],
)
def test_a_run_that_needs_arguments_is_refused_and_says_where_they_are(run: Any):
    with pytest.raises(UnsupportedRunMethod, match="cannot be called without arguments") as refused:
        registry.register(type("Letter", (BaseTaskProcessor,), {"run": run}))

    assert "The arguments of the task are in self.args and self.kwargs" in str(refused.value)


def test_a_run_that_is_no_method_is_refused():
    with pytest.raises(UnsupportedRunMethod, match="has run = 5; expected a method"):
        registry.register(type("Letter", (BaseTaskProcessor,), {"run": 5}))


def with_lock(function: Any) -> Any:
    """Decorate a method; the decorator supplies a lock as an argument."""

    @functools.wraps(function)
    def wrapper(self: Any) -> Any:
        return function(self, "the lock")

    return wrapper


class Called:
    def __call__(self) -> None:
        """An object that can be called."""


@pytest.mark.parametrize(
    "run",
    [
        lambda self, to="Ada", *rest, **more: None,
        staticmethod(lambda: None),
        classmethod(lambda cls: None),
        functools.partialmethod(lambda self, to: None, "Ada"),
        functools.partial(lambda to: None, "Ada"),
        Called(),
        with_lock(lambda self, lock: None),
    ],
    ids=["optional", "static", "of the class", "partial method", "partial", "object", "decorated"],
)
def test_whatever_can_be_called_without_arguments_is_registered(run: Any):
    made = registry.register(type("Letter", (BaseTaskProcessor,), {"run": run}))

    assert registry.definitions["Letter"].source is made


def test_a_subclass_of_an_abstract_processor_that_has_run_is_registered():
    class Letter(Base):
        def run(self) -> None:
            """Override the abstract method."""

    assert registry.register(Letter) is Letter
