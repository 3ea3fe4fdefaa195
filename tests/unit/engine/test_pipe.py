"""The pipe: messages arrive as they were sent, and neither end blocks the other."""

import marshal
import os
import random
import socket
import struct
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

import pytest

from django_partisan.engine.pipe import FRAME_MAX_BYTES, Frames, ManagerEnd, PipeError, WorkerEnd, frame
from django_partisan.engine.protocol import Flushed, Message, Returned, Stop

ONE, TWO = Returned([1]), Returned([2])
LARGE = Flushed([("counts", "x" * 700_000)], 1)
"""A message larger than one read, and than any pipe."""


def framed(body: bytes) -> bytes:
    return struct.pack("!I", len(body)) + body


class Ends(NamedTuple):
    """Both ends of a pipe: the manager's with its socket, the worker's with its socket."""

    manager: ManagerEnd
    ours: socket.socket
    worker: WorkerEnd
    theirs: socket.socket


@pytest.fixture
def ends() -> Iterator[Ends]:
    ours, theirs = socket.socketpair()
    with ours, theirs:
        yield Ends(ManagerEnd(ours.fileno()), ours, WorkerEnd(theirs.fileno()), theirs)


@pytest.fixture
def unreadable() -> Iterator[int]:
    """Open a folder, a descriptor that can be neither read nor written."""
    fd = os.open("/", os.O_RDONLY)
    yield fd
    os.close(fd)


@pytest.mark.parametrize("seed", range(10))
def test_messages_come_out_as_they_went_in_however_the_stream_is_cut(seed: int):
    chance = random.Random(seed)
    values = [None, 2**64, 0.5, "ü\0" * 200, (1, "two", [3.0, None], {"four": b"5"})]
    sent: list[Message] = [Flushed([("any", chance.choice(values))], number) for number in range(40)]
    stream = b"".join(map(frame, sent))
    cuts = sorted(chance.choices(range(len(stream) + 1), k=chance.choice([0, 3, 200])))
    frames, came = Frames(), []

    for start, end in zip([0, *cuts], [*cuts, len(stream)], strict=True):
        came += frames.feed(stream[start:end])

    assert came == sent
    assert frames.ending == "end of file"


def test_the_stream_is_torn_while_the_end_of_a_message_is_missing():
    frames = Frames()

    assert frames.feed(frame(ONE) + frame(TWO)[:-1]) == [ONE]
    assert frames.ending == "torn frame"
    assert frames.feed(frame(TWO)[-1:]) == [TWO]
    assert frames.ending == "end of file"


@pytest.mark.parametrize(
    "nonsense",
    [
        struct.pack("!I", FRAME_MAX_BYTES + 1),
        framed(b""),
        framed(b"???"),
        framed(frame(LARGE)[4:9]),
        framed(marshal.dumps(7)),
        framed(marshal.dumps((99, []))),
        framed(marshal.dumps((4,))),
    ],
    ids=["too long", "empty", "no value", "half a value", "no tuple", "an unknown kind", "fields missing"],
)
def test_what_is_no_message_is_an_error(nonsense: bytes):
    with pytest.raises(PipeError):
        Frames().feed(nonsense)


def test_only_plain_values_can_be_sent():
    with pytest.raises(ValueError, match="unmarshallable"):
        frame(Flushed([("any", ValueError("no plain value"))], 1))


def test_the_manager_is_not_held_up_by_a_worker_that_does_not_read(ends: Ends):
    sent: list[Message] = [LARGE, Stop(), LARGE]
    came: list[Any] = []

    for message in sent:
        ends.manager.send(message)
    assert ends.manager.has_unsent
    while ends.manager.has_unsent:
        came += ends.worker.receive_available()
        ends.manager.flush()
    came += ends.worker.receive_available()

    assert came == sent


def test_the_manager_waits_for_no_message(ends: Ends):
    assert ends.manager.receive() == []
    ends.theirs.send(frame(ONE)[:3])
    assert ends.manager.receive() == []
    ends.theirs.send(frame(ONE)[3:])
    assert ends.manager.receive() == [ONE]


def test_the_manager_receives_a_large_message_at_once_if_it_is_all_there(tmp_path: Path):
    stream = tmp_path / "stream"
    stream.write_bytes(frame(LARGE) + frame(ONE))

    with stream.open("rb") as file:
        assert ManagerEnd(file.fileno()).receive() == [LARGE, ONE]


@pytest.mark.parametrize("unread", [False, True], ids=["all read", "with messages that nobody read"])
def test_the_manager_receives_the_last_message_and_the_end(unread: bool, ends: Ends):
    if unread:
        ends.manager.send(ONE)
    ends.theirs.send(frame(TWO))
    ends.theirs.close()

    assert ends.manager.receive() == [TWO]
    with pytest.raises(PipeError, match=r"^end of file$"):
        ends.manager.receive()


def test_the_manager_sees_that_a_worker_ended_in_the_middle_of_a_message(ends: Ends):
    ends.theirs.send(frame(ONE)[:-1])
    ends.theirs.close()

    with pytest.raises(PipeError, match=r"^torn frame$"):
        ends.manager.receive()


def test_what_cannot_be_sent_is_dropped(ends: Ends):
    ends.manager.send(LARGE)
    ends.theirs.close()

    with pytest.raises(PipeError, match="writing failed"):
        ends.manager.flush()
    assert not ends.manager.has_unsent


def test_closing_drops_what_is_unsent(ends: Ends):
    ends.manager.send(LARGE)

    ends.manager.close()
    ends.ours.detach()

    assert not ends.manager.has_unsent
    with pytest.raises(PipeError):
        ends.worker.receive()


def test_neither_end_can_use_what_is_no_pipe(unreadable: int):
    manager, worker = ManagerEnd(unreadable), WorkerEnd(unreadable)

    for receive in (manager.receive, worker.receive):
        with pytest.raises(PipeError, match="reading failed"):
            receive()
    for send in (manager.send, worker.send):
        with pytest.raises(PipeError, match="writing failed"):
            send(ONE)
    assert worker.receive_available() == []


def test_a_worker_sends_and_receives_messages_of_any_length(ends: Ends):
    other = WorkerEnd(ends.ours.fileno())
    os.set_blocking(other.fd, True)
    sending = threading.Thread(target=other.send, args=(LARGE,))
    sending.start()

    assert ends.worker.receive() == [LARGE]
    sending.join()


def test_a_worker_sees_that_its_manager_has_died(ends: Ends):
    ends.ours.close()

    with pytest.raises(PipeError, match=r"^end of file$"):
        ends.worker.receive()
    with pytest.raises(PipeError, match="writing failed"):
        ends.worker.send(ONE)


def test_a_worker_takes_what_has_come_without_waiting(ends: Ends):
    assert ends.worker.receive_available() == []
    ends.ours.send(frame(ONE) + frame(TWO)[:2])
    assert ends.worker.receive_available() == [ONE]
    ends.ours.send(frame(TWO)[2:])
    ends.ours.close()
    assert ends.worker.receive_available() == [TWO]
    assert ends.worker.receive_available() == []
