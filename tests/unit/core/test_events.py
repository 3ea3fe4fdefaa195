"""The bus: subscribers receive every event they want, and their errors do not reach anyone else."""

import io
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext, suppress
from typing import Any

import pytest

from django_partisan.telemetry import bus, swallowed
from django_partisan.telemetry.bus import Subscriber
from django_partisan.telemetry.events.queues import TasksReleased
from django_partisan.telemetry.events.runs import TaskCompleted, TaskStarted
from django_partisan.telemetry.events.scopes import Enqueueing
from django_partisan.telemetry.events.tasks import TaskDeduplicated

pytestmark = pytest.mark.usefixtures("nobody_listens")

RELEASED = TasksReleased("mail", 3, "stopped")
SCOPE = Enqueueing("mail", "Letter")
METHODS = ("handle", "around", "headers", "take", "absorb", "preload", "close")


def emit() -> None:
    bus.emit(TasksReleased, *RELEASED)


def subscribed(name: str = "double", /, **methods: Callable[..., Any]) -> Subscriber:
    """Subscribe an object on which only ``methods`` do anything."""
    overriding = {method: staticmethod(function) for method, function in methods.items()}
    made: Subscriber = type("Double", (Subscriber,), {"name": name, **overriding})()
    bus.subscribe(made)
    return made


def receiving(name: str, diary: list[Any]) -> Subscriber:
    return subscribed(name, handle=lambda event: diary.append((name, event)))


def faulty() -> Subscriber:
    """Subscribe an object all of whose methods raise."""

    def fail(*_: Any) -> Any:
        raise ValueError("faulty")

    return subscribed("faulty", **dict.fromkeys(METHODS, fail))


def noting(diary: list[str], name: str = "") -> Callable[..., AbstractContextManager[None]]:
    @contextmanager
    def note(*_: Any) -> Iterator[None]:
        diary.append(f"into {name}")
        yield
        diary.append(f"out of {name}")

    return note


class TestEmitting:
    def test_reaches_all_in_the_order_of_subscription(self):
        diary: list[Any] = []
        receiving("first", diary)
        receiving("second", diary)

        emit()

        assert diary == [("first", RELEASED), ("second", RELEASED)]
        assert [subscriber.name for subscriber in bus.subscribers()] == ["first", "second"]

    def test_does_not_reach_who_unsubscribed(self):
        diary: list[Any] = []
        first = receiving("first", diary)
        emit()

        bus.unsubscribe(first)
        emit()

        assert len(diary) == 1
        assert not bus.wanted(TasksReleased)

    def test_reaches_the_others_where_one_raises(self):
        diary: list[Any] = []
        faulty()
        receiving("next", diary)

        emit()

        assert len(diary) == 1

    def test_constructs_no_event_that_nobody_wants(self):
        subscribed()

        # mypy checks the values of each call; if it no longer did, it would report these ignores as unused.
        bus.emit(TasksReleased, "too few values")  # type: ignore[arg-type]
        bus.emit(TasksReleased, "mail", "three", "stopped")  # type: ignore[arg-type]
        bus.emit(int, "no event")  # type: ignore[arg-type]

        assert not bus.wanted(TasksReleased)


class TestWanting:
    def test_is_asked_again_at_a_refresh_only(self):
        wanted = [False]
        subscribed(handle=print, wants=lambda kind: wanted[0])
        before = bus.wanted(TasksReleased)

        wanted[0] = True

        assert not before
        assert not bus.wanted(TasksReleased)
        bus.refresh()
        assert bus.wanted(TasksReleased)

    @pytest.mark.parametrize(
        ("kind", "is_watched"), [(TaskDeduplicated, False), (TaskStarted, True), (TaskCompleted, True)]
    )
    def test_start_or_end_of_a_run_means_that_runs_are_watched(self, kind, is_watched):
        subscribed(handle=print, wants=lambda asked: asked is kind)

        assert bus.each_run_is_watched is is_watched
        assert not bus.each_run_is_surrounded

    def test_to_be_around_only_runs_with_context_leaves_the_others_unwatched(self):
        subscribed(around=noting([]), surrounds_every_run=lambda: False)
        before = bus.each_run_is_watched

        subscribed(around=noting([]))

        assert not before
        assert bus.each_run_is_watched
        assert bus.each_run_is_surrounded

    def test_raises_and_so_receives_nothing(self):
        subscribed("undecided", handle=print, wants=lambda kind: [][0])

        assert not bus.wanted(TasksReleased)
        assert swallowed.counts["undecided"] > 0


class TestErrors:
    @pytest.mark.parametrize(
        "act",
        [
            emit,
            lambda: bus.around(SCOPE).__enter__(),
            bus.headers,
            bus.take,
            lambda: bus.absorb(1, [("faulty", "value")]),
            bus.preload,
            lambda: bus.close(1.0),
        ],
        ids=METHODS,
    )
    def test_are_counted_and_reported_once(self, act, capsys):
        faulty()

        act()
        act()

        errors = capsys.readouterr().err
        report = (
            "django_partisan: the faulty subscriber raised an exception; further errors are only counted."
        )
        assert swallowed.counts == {"faulty": 2}
        assert errors.count(report) == errors.count("ValueError: faulty") == 1

    def test_are_counted_without_a_standard_error(self, monkeypatch):
        closed = io.StringIO()
        closed.close()
        monkeypatch.setattr(sys, "stderr", closed)
        faulty()

        emit()

        assert swallowed.counts == {"faulty": 1, "stderr": 1}


class TestScopes:
    def test_nest_in_the_order_of_subscription(self):
        diary: list[str] = []
        subscribed(around=noting(diary, "outer"))
        subscribed(around=noting(diary, "inner"))

        with bus.around(SCOPE):
            diary.append("work")

        assert diary == ["into outer", "into inner", "work", "out of inner", "out of outer"]

    def test_cost_nothing_where_nobody_is_around(self):
        subscribed(handle=print)

        assert bus.around(SCOPE) is bus.around(SCOPE)
        assert isinstance(bus.around(SCOPE), nullcontext)

    def test_that_cannot_be_entered_leave_the_others_around(self):
        diary: list[str] = []
        faulty()
        subscribed(around=noting(diary))

        with bus.around(SCOPE):
            diary.append("work")

        assert diary == ["into ", "work", "out of "]
        assert swallowed.counts == {"faulty": 1}

    def test_that_raise_on_the_way_out_are_counted(self):
        @contextmanager
        def raising(_: Any) -> Iterator[None]:
            yield
            raise ValueError("on the way out")

        subscribed(around=raising)

        with bus.around(SCOPE):
            pass

        assert swallowed.counts == {"double": 1}

    def test_can_neither_hide_nor_change_the_error_of_the_work(self):
        seen: list[BaseException] = []

        @contextmanager
        def changing(_: Any) -> Iterator[None]:
            try:
                yield
            except KeyError as error:
                seen.append(error)
                raise SystemExit(3) from error

        subscribed(around=lambda _: suppress(KeyError))
        subscribed(around=changing)

        with pytest.raises(KeyError, match="work") as raised, bus.around(SCOPE):
            raise KeyError("work")

        assert seen == [raised.value]
        assert swallowed.counts == {"double": 1}

    def test_may_raise_the_error_of_the_work_itself(self):
        class Passing(AbstractContextManager[None]):
            def __exit__(self, kind: Any, error: Any, tb: Any) -> None:
                raise error

        subscribed(around=lambda _: Passing())

        with pytest.raises(KeyError), bus.around(SCOPE):
            raise KeyError("work")

        assert not swallowed.counts

    def test_of_the_librarys_own_statements_are_quiet_for_all_who_can_be(self):
        diary: list[str] = []
        subscribed("loud", quiet=lambda: [][0])
        subscribed(quiet=noting(diary, "quiet"))
        subscribed()

        with bus.quiet():
            diary.append("poll")

        assert diary == ["into quiet", "poll", "out of quiet"]
        assert swallowed.counts == {"loud": 1}


class TestHeaders:
    def test_of_all_are_merged_and_the_later_wins(self):
        subscribed(headers=lambda: {"a": "1", "b": "1"})
        subscribed()
        subscribed(headers=lambda: {"b": "2"})

        assert bus.headers() == {"a": "1", "b": "2"}

    @pytest.mark.parametrize(("character", "escaped"), [("x", 1), ("é", 6), ("📮", 12), ('"', 2)])
    @pytest.mark.parametrize("is_too_long", [False, True])
    def test_up_to_4096_bytes_of_json_are_carried_and_more_are_dropped(self, character, escaped, is_too_long):
        room = 4096 - len('{"k": ""}')
        text = character * (room // escaped) + "x" * (room % escaped + is_too_long)
        subscribed(headers=lambda: {"k": text})

        assert bus.headers() == ({} if is_too_long else {"k": text})
        assert swallowed.counts == ({"headers": 1} if is_too_long else {})

    @pytest.mark.parametrize(
        "given",
        [
            {"k": 1},
            {1: "v"},
            {"k": None},
            {"k": "a\0b"},
            {"a\0b": "v"},
            {"k": "\ud800"},
            {f"k{number}": "" for number in range(1000)},
            {f"📮{number}": "" for number in range(1000)},
        ],
        ids=["number", "key", "nothing", "NUL", "NUL in key", "surrogate", "many", "many long"],
    )
    def test_that_no_row_can_hold_are_dropped_and_counted(self, given):
        subscribed(headers=lambda: given)

        assert bus.headers() == {}
        assert swallowed.counts == {"headers": 1}


def test_what_is_taken_is_absorbed_by_the_subscriber_of_the_same_name():
    absorbed: list[Any] = []
    subscribed("metrics", take=lambda: [1, 2], absorb=lambda *values: absorbed.append(values))
    subscribed("traces", absorb=lambda *values: absorbed.append(values))

    taken = bus.take()
    bus.absorb(4, [*taken, ("unknown", 1)])

    assert taken == [("metrics", [1, 2])]
    assert absorbed == [(4, [1, 2])]


@pytest.mark.parametrize(
    ("method", "act", "values"),
    [("preload", bus.preload, ()), ("close", lambda: bus.close(2.5), (pytest.approx(2.5, abs=0.2),))],
    ids=["preload", "close"],
)
def test_every_subscriber_is_called_though_one_raises(method, act, values):
    calls: list[Any] = []
    subscribed(**{method: lambda *given: calls.append(given)})
    faulty()
    subscribed(**{method: lambda *given: calls.append(given)})

    act()

    assert calls == [values, values]
    assert swallowed.counts == {"faulty": 1}


def test_all_subscribers_share_the_time_of_the_flush_and_the_first_has_half_a_second_in_any_case():
    timeouts: list[float] = []
    subscribed(close=timeouts.append)
    subscribed(close=timeouts.append)
    subscribed(close=lambda _: time.sleep(0.2))

    bus.close(0.1)

    assert timeouts == [0.0, bus.LAST_SECONDS]


def test_a_subscriber_that_overrides_nothing_does_nothing():
    subscriber = subscribed()

    subscriber.handle(RELEASED)
    bus.absorb(1, [("double", None)])
    bus.close(1.0)

    assert not bus.wanted(TasksReleased)
    assert bus.headers() == {}
    assert bus.take() == []
    with subscriber.around(SCOPE), bus.quiet():
        assert not swallowed.counts
