"""The seam: subscribers hear everything they want, and can hurt nobody."""

import io
import sys
from collections.abc import Callable, Iterator, Mapping
from contextlib import AbstractContextManager, contextmanager, suppress
from typing import Any

import pytest

from django_partisan.telemetry import bus
from django_partisan.telemetry.bus import Subscriber
from django_partisan.telemetry.events import (
    Enqueueing,
    Event,
    Scope,
    TaskCompleted,
    TaskDeduplicated,
    TasksReleased,
    TaskStarted,
)

pytestmark = pytest.mark.usefixtures("nobody_listens")

RELEASED = ("mail", 3, "stopped")
SCOPE = Enqueueing("mail", "Letter")


class Listener(Subscriber):
    """Note in a diary, shared with others, what is heard."""

    def __init__(self, name: str, diary: list[Any]) -> None:
        self.name = name
        self.diary = diary

    def handle(self, event: Event) -> None:
        self.diary.append((self.name, event))


class Faulty(Subscriber):
    """Raise wherever it can."""

    name = "faulty"

    def handle(self, event: Event) -> None:
        raise ValueError("handle")

    def around(self, scope: Scope) -> AbstractContextManager[None]:
        raise ValueError("around")

    def headers(self) -> Mapping[str, str]:
        raise ValueError("headers")

    def take(self) -> Any:
        raise ValueError("take")

    def absorb(self, slot: int, value: Any) -> None:
        raise ValueError("absorb")

    def preload(self) -> None:
        raise ValueError("preload")

    def close(self, timeout: float) -> None:
        raise ValueError("close")


class Carrying(Subscriber):
    """Want ``given`` stored with a task."""

    def __init__(self, given: Any) -> None:
        self.given = given

    def headers(self) -> Any:
        return self.given


class Wrapping(Subscriber):
    """Be around a scope as ``make`` says."""

    name = "wrapping"

    def __init__(self, make: Callable[[], AbstractContextManager[None]]) -> None:
        self.make = make

    def around(self, scope: Scope) -> AbstractContextManager[None]:
        return self.make()


def subscribed(*subscribers: Subscriber) -> None:
    for subscriber in subscribers:
        bus.subscribe(subscriber)


def test_a_fact_is_heard_by_all_in_the_order_of_subscription():
    diary: list[Any] = []
    subscribed(Listener("first", diary), Listener("second", diary))

    bus.emit(TasksReleased, *RELEASED)

    assert diary == [("first", TasksReleased(*RELEASED)), ("second", TasksReleased(*RELEASED))]
    assert [subscriber.name for subscriber in bus.subscribers()] == ["first", "second"]


def test_who_unsubscribed_hears_nothing_more():
    diary: list[Any] = []
    listener = Listener("first", diary)
    subscribed(listener)
    bus.emit(TasksReleased, *RELEASED)

    bus.unsubscribe(listener)
    bus.emit(TasksReleased, *RELEASED)

    assert len(diary) == 1
    assert not bus.wanted(TasksReleased)


def test_a_fact_that_nobody_wants_is_not_even_made():
    subscribed(Subscriber())

    bus.emit(TasksReleased, "too few values")

    assert not bus.wanted(TasksReleased)


def test_a_subscriber_is_asked_again_what_it_wants_at_a_refresh_only():
    class Choosy(Listener):
        level = "warning"

        def wants(self, kind: type[Event]) -> bool:
            return self.level == "info"

    listener = Choosy("choosy", [])
    subscribed(listener)
    before = bus.wanted(TasksReleased)

    listener.level = "info"

    assert not before
    assert not bus.wanted(TasksReleased)

    bus.refresh()

    assert bus.wanted(TasksReleased)


def test_runs_are_watched_if_somebody_wants_their_start_or_end_or_to_be_around():
    class Only(Listener):
        kinds: tuple[type[Event], ...] = ()

        def wants(self, kind: type[Event]) -> bool:
            return kind in self.kinds

    only = Only("only", [])
    subscribed(only)
    watched = []
    for kinds in ((TaskDeduplicated,), (TaskStarted,), (TaskCompleted,)):
        only.kinds = kinds
        bus.refresh()
        watched.append(bus.each_run_is_watched())
    bus.unsubscribe(only)
    subscribed(Wrapping(lambda: contextmanager(_nothing)()))

    assert watched == [False, True, True]
    assert bus.each_run_is_watched()


def test_one_that_raises_keeps_no_fact_from_the_others():
    diary: list[Any] = []
    subscribed(Faulty(), Listener("next", diary))

    bus.emit(TasksReleased, *RELEASED)

    assert len(diary) == 1


@pytest.mark.parametrize(
    "act",
    [
        lambda: bus.emit(TasksReleased, *RELEASED),
        lambda: bus.around(SCOPE).__enter__(),
        bus.headers,
        bus.preload,
        bus.take,
        lambda: bus.absorb(1, [("faulty", "value")]),
        lambda: bus.close(1.0),
    ],
    ids=["tell", "around", "headers", "preload", "take", "absorb", "close"],
)
def test_errors_of_a_subscriber_are_counted_and_told_once(act, capsys):
    subscribed(Faulty())

    act()
    act()

    errors = capsys.readouterr().err
    assert bus.swallowed == {"faulty": 2}
    assert (
        errors.count("django_partisan: the faulty subscriber raised; further errors are only counted.") == 1
    )
    assert errors.count("ValueError: ") == 1


def test_one_that_raises_when_asked_what_it_wants_hears_nothing():
    class Undecided(Listener):
        def wants(self, kind: type[Event]) -> bool:
            raise ValueError("wants")

    subscribed(Undecided("undecided", []))

    assert not bus.wanted(TasksReleased)
    assert bus.swallowed["undecided"] > 0


def test_a_handler_that_is_no_method_of_a_subscriber_is_counted_all_the_same():
    def handle(event: Event) -> None:
        raise ValueError("handle")

    listener = Listener("listener", [])
    listener.handle = handle  # type: ignore[method-assign]
    subscribed(listener)

    bus.emit(TasksReleased, *RELEASED)

    assert bus.swallowed == {"subscriber": 1}


def test_a_closed_standard_error_hurts_nobody(monkeypatch):
    closed = io.StringIO()
    closed.close()
    monkeypatch.setattr(sys, "stderr", closed)
    subscribed(Faulty())

    bus.emit(TasksReleased, *RELEASED)

    assert bus.swallowed == {"faulty": 1, "stderr": 1}


def test_scopes_nest_in_the_order_of_subscription():
    diary: list[str] = []

    class Nesting(Subscriber):
        def __init__(self, name: str) -> None:
            self.name = name

        @contextmanager
        def around(self, scope: Scope) -> Iterator[None]:
            diary.append(f"into {self.name}")
            yield
            diary.append(f"out of {self.name}")

    subscribed(Nesting("outer"), Nesting("inner"))

    with bus.around(SCOPE):
        diary.append("work")

    assert diary == ["into outer", "into inner", "work", "out of inner", "out of outer"]


def test_where_nobody_is_around_nothing_is():
    subscribed(Listener("listener", []))

    assert bus.around(SCOPE) is bus.around(SCOPE)
    with bus.around(SCOPE) as nothing:
        assert nothing is None


def test_one_that_cannot_be_entered_leaves_the_others_around():
    diary: list[str] = []

    @contextmanager
    def noting() -> Iterator[None]:
        diary.append("in")
        yield
        diary.append("out")

    subscribed(Faulty(), Wrapping(noting))

    with bus.around(SCOPE):
        diary.append("work")

    assert diary == ["in", "work", "out"]
    assert bus.swallowed == {"faulty": 1}


def test_one_that_raises_on_the_way_out_hurts_nobody():
    @contextmanager
    def raising() -> Iterator[None]:
        yield
        raise ValueError("on the way out")

    subscribed(Wrapping(raising))

    with bus.around(SCOPE):
        pass

    assert bus.swallowed == {"wrapping": 1}


def test_the_error_of_the_work_passes_and_is_seen_by_those_around():
    seen: list[BaseException] = []

    @contextmanager
    def looking() -> Iterator[None]:
        try:
            yield
        except KeyError as error:
            seen.append(error)
            raise

    subscribed(Wrapping(looking))

    with pytest.raises(KeyError) as raised, bus.around(SCOPE):
        raise KeyError("work")

    assert seen == [raised.value]
    assert not bus.swallowed


def test_nobody_around_can_hide_the_error_of_the_work_or_change_it():
    @contextmanager
    def hiding() -> Iterator[None]:
        with suppress(KeyError):
            yield

    @contextmanager
    def changing() -> Iterator[None]:
        try:
            yield
        except KeyError as error:
            raise SystemExit(3) from error

    subscribed(Wrapping(hiding), Wrapping(changing))

    with pytest.raises(KeyError, match="work"), bus.around(SCOPE):
        raise KeyError("work")

    assert bus.swallowed == {"wrapping": 1}


def test_one_around_that_raises_the_error_of_the_work_itself_is_no_fault():
    class Passing(AbstractContextManager[None]):
        def __exit__(self, kind: Any, error: Any, tb: Any) -> None:
            raise error

    subscribed(Wrapping(Passing))

    with pytest.raises(KeyError), bus.around(SCOPE):
        raise KeyError("work")

    assert not bus.swallowed


def test_our_own_statements_are_quiet_for_all_who_can_be():
    diary: list[str] = []

    class Quiet(Subscriber):
        @contextmanager
        def quiet(self) -> Iterator[None]:
            diary.append("quiet")
            yield
            diary.append("loud again")

    class Loud(Subscriber):
        name = "loud"

        def quiet(self) -> AbstractContextManager[None]:
            raise ValueError("quiet")

    subscribed(Loud(), Quiet(), Subscriber())

    with bus.quiet():
        diary.append("poll")

    assert diary == ["quiet", "poll", "loud again"]
    assert bus.swallowed == {"loud": 1}


def test_one_may_be_around_only_where_a_task_carries_context():
    class Sometimes(Wrapping):
        def surrounds_every_run(self) -> bool:
            return False

    sometimes = Sometimes(lambda: contextmanager(_nothing)())
    subscribed(sometimes)
    before = bus.each_run_is_watched()

    subscribed(Wrapping(lambda: contextmanager(_nothing)()))

    assert not before
    assert bus.each_run_is_watched()
    assert bus.each_run_is_surrounded()


def test_headers_of_all_are_merged_the_later_wins():
    subscribed(Carrying({"a": "1", "b": "1"}), Subscriber(), Carrying({"b": "2"}))

    assert bus.headers() == {"a": "1", "b": "2"}


@pytest.mark.parametrize("character", ["x", "\u00e9", "\U0001f4ee", '"'])
def test_context_up_to_4096_bytes_of_json_is_carried_and_more_is_dropped_and_counted(character):
    escaped = {"x": 1, "\u00e9": 6, "\U0001f4ee": 12, '"': 2}[character]
    room = 4096 - len('{"k": ""}')
    fitting = character * (room // escaped) + "x" * (room % escaped)
    carrying = Carrying({"k": fitting})
    subscribed(carrying)

    assert bus.headers() == {"k": fitting}
    assert not bus.swallowed

    carrying.given = {"k": fitting + "x"}

    assert bus.headers() == {}
    assert bus.swallowed == {"headers": 1}


@pytest.mark.parametrize("key", ["k", "\U0001f4ee"])
def test_context_of_many_small_parts_is_measured_as_a_whole(key):
    many = {f"{key}{number}": "" for number in range(1000)}
    subscribed(Carrying(many))

    assert bus.headers() == {}
    assert bus.swallowed == {"headers": 1}


@pytest.mark.parametrize(
    "given",
    [{"k": 1}, {1: "v"}, {"k": None}, {"k": "a\0b"}, {"a\0b": "v"}, {"k": "\ud800"}],
    ids=["number", "key of another type", "nothing", "NUL", "NUL in the key", "lone surrogate"],
)
def test_context_that_no_row_can_hold_is_dropped_and_counted(given):
    subscribed(Carrying(given))

    assert bus.headers() == {}
    assert bus.swallowed == {"headers": 1}


def test_what_is_taken_is_absorbed_by_the_subscriber_of_the_same_name():
    class Relaying(Subscriber):
        def __init__(self, name: str, value: Any = None) -> None:
            self.name = name
            self.value = value
            self.absorbed: list[Any] = []

        def take(self) -> Any:
            return self.value

        def absorb(self, slot: int, value: Any) -> None:
            self.absorbed.append((slot, value))

    counting, quiet = Relaying("metrics", [1, 2]), Relaying("traces")
    subscribed(counting, quiet, Subscriber())

    taken = bus.take()
    bus.absorb(4, [*taken, ("unknown", 1)])

    assert taken == [("metrics", [1, 2])]
    assert counting.absorbed == [(4, [1, 2])]
    assert quiet.absorbed == []


def test_one_that_cannot_preload_keeps_nothing_from_the_others():
    loaded: list[str] = []

    class Loading(Subscriber):
        def preload(self) -> None:
            loaded.append(self.name)

    subscribed(Loading(), Faulty(), Subscriber(), Loading())

    bus.preload()

    assert loaded == ["subscriber", "subscriber"]
    assert bus.swallowed == {"faulty": 1}


def test_all_are_closed_with_the_same_patience():
    patience: list[float] = []

    class Closing(Subscriber):
        def close(self, timeout: float) -> None:
            patience.append(timeout)

    subscribed(Closing(), Faulty(), Closing())

    bus.close(2.5)

    assert patience == [2.5, 2.5]


def test_a_subscriber_that_overrides_nothing_does_nothing():
    subscriber = Subscriber()

    subscriber.handle(TasksReleased(*RELEASED))
    subscriber.absorb(1, None)
    subscriber.close(1.0)

    assert not subscriber.wants(TasksReleased)
    assert subscriber.headers() == {}
    assert subscriber.take() is None
    with subscriber.around(SCOPE) as nothing:
        assert nothing is None


def _nothing() -> Iterator[None]:
    yield
