"""Calls that cannot work are refused before anything is stored, and the error says what to do."""

import asyncio
import functools
from typing import Any

import pytest
from django.core.exceptions import SynchronousOnlyOperation

from django_partisan import registry
from django_partisan.exceptions import NotAProcessor, ProcessorClassNotFound, ProcessorNotInitialized
from django_partisan.models import Task
from django_partisan.processor import BaseTaskProcessor, bulk_delay

pytestmark = pytest.mark.django_db


class Letter(BaseTaskProcessor):
    def run(self) -> None:
        """Do nothing."""


class Parcel(BaseTaskProcessor):
    """A constructor that does not call the base class."""

    def __init__(self, to: str) -> None:
        self.to = to

    def run(self) -> Any:
        return self.kwargs


class Careless(BaseTaskProcessor):
    """A constructor that passes no arguments to the base class."""

    def __init__(self, to: str) -> None:
        super().__init__()

    def run(self) -> None:
        """Do nothing."""


class Careful(BaseTaskProcessor):
    def __init__(self, to: str, text: str = "Hello") -> None:
        super().__init__(to, text=text)

    def run(self) -> None:
        """Do nothing."""


def with_greeting(init: Any) -> Any:
    """Decorate a constructor; the decorator supplies one of its arguments."""

    @functools.wraps(init)
    def wrapper(self: Any, to: str) -> None:
        init(self, to, "Hello")

    return wrapper


class Decorated(BaseTaskProcessor):
    @with_greeting
    def __init__(self, to: str, greeting: str) -> None:
        super().__init__(to)

    def run(self) -> None:
        """Do nothing."""


@pytest.fixture
def nothing_is_stored() -> Any:
    yield
    assert not Task.objects.exists()


@pytest.mark.usefixtures("nothing_is_stored")
@pytest.mark.parametrize("enqueue", [lambda made: made.delay(), lambda made: bulk_delay([made])])
def test_an_object_of_a_class_that_is_not_registered_is_refused_with_the_remedy(enqueue):
    class Unregistered(Letter):
        """A subclass does not inherit the registration."""

    with pytest.raises(ProcessorClassNotFound, match=r"'Unregistered' in .* is not registered") as refused:
        enqueue(Unregistered())

    assert "@registry.register" in str(refused.value)
    assert "partisan_tasks.py" in str(refused.value)


@pytest.mark.usefixtures("nothing_is_stored")
def test_a_class_with_the_name_of_a_registered_one_enqueues_no_task_of_the_other():
    def other() -> type[BaseTaskProcessor]:
        class Letter(BaseTaskProcessor):
            def run(self) -> None:
                """Do something else."""

        return Letter

    with pytest.raises(ProcessorClassNotFound, match=r"Its name is registered for a class in .*wrong"):
        other()().delay()


@pytest.mark.usefixtures("nothing_is_stored")
@pytest.mark.parametrize("enqueue", [lambda made: made.delay(), lambda made: bulk_delay([made])])
def test_a_class_that_does_not_call_init_of_its_base_is_named(enqueue):
    with pytest.raises(ProcessorNotInitialized, match=r"Parcel\.args is not set; .* super\(\)\.__init__"):
        enqueue(Parcel("Ada"))


def test_a_run_that_reads_arguments_never_set_says_so_too():
    with pytest.raises(ProcessorNotInitialized, match=r"Parcel\.kwargs is not set"):
        Parcel("Ada").run()
    assert not hasattr(Parcel("Ada"), "args")
    assert hasattr(Parcel, "args")


@pytest.mark.usefixtures("nothing_is_stored")
def test_arguments_from_which_no_worker_could_make_the_object_are_refused():
    with pytest.raises(TypeError, match="A worker could not create the same object with Careless") as refused:
        Careless("Ada").delay()

    assert "missing a required argument: 'to'" in str(refused.value)
    assert "In Careless.__init__(), pass its own arguments to super().__init__()" in str(refused.value)


def test_a_class_that_passes_its_arguments_on_in_another_way_is_enqueued():
    task = Careful("Ada").delay()

    assert task.arguments == {"args": ["Ada"], "kwargs": {"text": "Hello"}}


def test_a_constructor_that_gets_arguments_from_its_decorator_is_no_mistake():
    task = Decorated("Ada").delay()

    assert task.arguments == {"args": ["Ada"], "kwargs": {}}


@pytest.mark.usefixtures("nothing_is_stored")
@pytest.mark.parametrize(
    ("option", "remedy"),
    [
        ("countdown", "Instead of countdown= use execute_after=timezone.now() + timedelta(seconds=60)."),
        ("eta", "Instead of eta= use execute_after="),
        ("run_after", "Instead of run_after= use execute_after="),
        ("_defer_until", "Instead of _defer_until= use execute_after="),
        ("retry", "Instead of retry= set RETRY_ON_ERROR_CONFIG on the processor."),
        ("at_front", "Instead of at_front= use priority=0."),
        ("expires_in", "Instead of expires_in= use expires=timedelta(minutes=10)."),
        ("time_limit", "django-partisan has no option like time_limit=."),
        ("prioritty", "Did you mean priority=?"),
        ("execute_afer", "Did you mean execute_after=?"),
        ("to", "Pass the arguments of the task to the constructor, as in MyProcessor(to=...)."),
    ],
)
def test_an_option_of_another_task_queue_is_refused_with_ours(option, remedy):
    options: dict[str, Any] = {option: 10}

    with pytest.raises(TypeError) as of_delay:
        Letter().delay(**options)
    with pytest.raises(TypeError) as of_many:
        bulk_delay([Letter()], **options)

    assert str(of_delay.value).startswith(f"Letter.delay() has no option '{option}'; expected priority or ")
    assert remedy in str(of_delay.value)
    assert str(of_many.value).startswith(f"bulk_delay() has no option '{option}'")
    assert remedy in str(of_many.value)


def test_the_queue_is_named_by_what_names_it_here():
    with pytest.raises(TypeError, match=r"Instead of queue= (use queue_name=|set QUEUE_NAME)"):
        Letter().delay(queue="mail")  # type: ignore[arg-type]


async def _in_asynchronous_code(call: Any) -> None:
    call()


@pytest.mark.usefixtures("nothing_is_stored")
@pytest.mark.parametrize(
    ("call", "named"),
    [
        (lambda: Letter(1).delay(), "Letter.delay() was called in asynchronous code"),
        (lambda: bulk_delay([Letter(1)]), "await sync_to_async(bulk_delay)(...)"),
    ],
)
def test_in_asynchronous_code_the_error_names_what_to_await(call, named):
    with pytest.raises(SynchronousOnlyOperation) as refused:
        asyncio.run(_in_asynchronous_code(call))

    assert named in str(refused.value)
    assert ("await Letter(...).adelay()" in str(refused.value)) == ("Letter" in named)


async def _adelay(**options: Any) -> Task:
    return await Letter().adelay(**options)


@pytest.mark.usefixtures("nothing_is_stored")
def test_adelay_refuses_what_delay_refuses():
    with pytest.raises(TypeError, match=r"Letter\.delay\(\) has no option 'countdown'"):
        asyncio.run(_adelay(countdown=10))


@pytest.mark.usefixtures("nothing_is_stored")
@pytest.mark.parametrize(
    ("items", "named"),
    [
        (
            [Letter(1), Letter],
            "item 1 is the class Letter itself; expected a processor object, Letter(",
        ),
        ([None], "item 0 is None of type 'NoneType'; expected a processor object"),
        ([Letter(1), Letter(2), "Ada"], "item 2 is 'Ada' of type 'str'"),
        ((text for text in ["Ada"]), "item 0 is 'Ada' of type 'str'"),
        ([lambda: None], "item 0 is the function '<lambda>'"),
        (Letter(1), "bulk_delay() was given one object of Letter; expected an iterable of them."),
    ],
    ids=["a class", "None", "a string", "a generator", "a function", "one processor"],
)
def test_many_of_which_one_is_no_processor_are_refused_and_it_is_named(items, named):
    with pytest.raises(NotAProcessor) as refused:
        bulk_delay(items)

    assert str(refused.value).startswith("bulk_delay()")
    assert named in str(refused.value)


def test_the_row_of_a_task_is_refused_as_enqueued_already():
    task = Letter(1).delay()

    with pytest.raises(NotAProcessor, match=rf"item 0 is the row of the task {task.pk}, which is enqueued"):
        bulk_delay([task])  # type: ignore[list-item]


@pytest.mark.usefixtures("nothing_is_stored")
def test_delay_called_on_the_class_says_what_it_needs():
    with pytest.raises(NotAProcessor, match=r"delay\(\): the object is 'Ada' of type 'str'; expected"):
        Letter.delay("Ada")  # type: ignore[arg-type]


def test_a_class_that_was_imported_again_is_enqueued_as_the_registered_one():
    attributes = {"__module__": Letter.__module__, "run": Letter.run, "PRIORITY": 3}
    again = type("Letter", (BaseTaskProcessor,), attributes)

    assert again().delay().priority == 3
    assert registry.definitions["Letter"].source is Letter
