"""Every message between manager and worker arrives as it was sent; anything else raises."""

import marshal
from typing import Any, get_args

import pytest

from django_partisan.engine import protocol
from django_partisan.engine.protocol import (
    Flushed,
    Interrupt,
    LogStacks,
    Message,
    Ready,
    Registered,
    Retiring,
    Returned,
    RunTasks,
    Stop,
    decode,
    encode,
)
from tests.support.engine import report
from tests.support.rows import task_row

MESSAGES: list[Message] = [
    RunTasks([task_row(1), task_row(2, context="{}")], {7: 1.5}),
    Stop(),
    Interrupt(3, "timeout", "Letter ran longer than its time limit of 1 s."),
    LogStacks(),
    Ready(protocol.VERSION, ["mind the gap"], "2.0.0"),
    report([1, 2], changes=[(3, 4, "new")], measured={"Letter": (2, 0.5)}, telemetry=[("logs", None)]),
    Returned([5, 6]),
    Registered([("shop.tasks.send", "default", 10, None, None, None, 2.5, {"retry_pause": 5.0})]),
    Retiring(),
    Flushed([("metrics", {"a": 1})], 4096),
]


@pytest.mark.parametrize("message", MESSAGES, ids=lambda message: type(message).__name__)
def test_a_message_crosses_as_plain_values_and_keeps_its_kind(message: Message):
    came = decode(marshal.loads(marshal.dumps(encode(message))))

    assert came == message
    assert type(came) is type(message)


def test_workers_of_other_versions_can_say_which_they_are():
    ready = encode(Ready(2, []))

    assert decode(ready[:3]) == Ready(2, [], "")
    assert decode((*ready, "a field of a later version")) == Ready(2, [])


def test_every_message_is_tested():
    kinds = {kind for way in get_args(Message) for kind in (get_args(way) or [way])}

    assert {type(message) for message in MESSAGES} == kinds


@pytest.mark.parametrize(
    "values",
    [7, None, (), (99,), ("Stop",), (0,), (1, "too many"), (-1, [], 4096)],
    ids=lambda values: repr(values),
)
def test_what_is_no_message_raises(values: Any):
    with pytest.raises(ValueError, match="an invalid message"):
        decode(values)
