"""The wire: messages come out as they went in, and neither end is held up by the other."""

import os
import random
import socket
import struct
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from django_partisan.engine.pipe import (
    FRAME_MAX_BYTES,
    Broken,
    Frames,
    ManagerEnd,
    WorkerEnd,
    frame,
)

LARGE = ("report", "x" * 700_000)
"""A message that no read takes in at once, nor any pipe."""


@pytest.fixture
def ends() -> Iterator[tuple[socket.socket, socket.socket]]:
    ours, theirs = socket.socketpair()
    with ours, theirs:
        yield ours, theirs


@pytest.fixture
def unreadable() -> Iterator[int]:
    """Open what can be neither read nor written: a folder."""
    fd = os.open("/", os.O_RDONLY)
    yield fd
    os.close(fd)


def _plain_value(chance: random.Random) -> Any:
    return chance.choice(
        [
            None,
            chance.randrange(2**64),
            chance.random(),
            "ü\0" * chance.randrange(300),
            (1, "two", [3.0, None], {"four": b"5"}),
            [("tasks", number) for number in range(chance.randrange(50))],
        ]
    )


@pytest.mark.parametrize("seed", range(10))
def test_messages_come_out_as_they_went_in_however_the_stream_is_cut(seed: int):
    chance = random.Random(seed)
    sent = [_plain_value(chance) for _ in range(40)]
    stream = b"".join(map(frame, sent))
    cuts = sorted(chance.choices(range(len(stream) + 1), k=chance.choice([0, 3, 200])))

    frames = Frames()
    came = []
    for start, end in zip([0, *cuts], [*cuts, len(stream)], strict=True):
        came += frames.feed(stream[start:end])

    assert came == sent
    assert not frames.torn


def test_frames_are_torn_while_the_end_of_a_message_is_missing():
    frames = Frames()

    assert frames.feed(frame("whole") + frame("half")[:-1]) == ["whole"]
    assert frames.torn
    assert frames.feed(frame("half")[-1:]) == ["half"]
    assert not frames.torn


@pytest.mark.parametrize(
    "nonsense",
    [
        struct.pack("!I", FRAME_MAX_BYTES + 1),
        struct.pack("!I", 0),
        struct.pack("!I", 3) + b"???",
        struct.pack("!I", 5) + frame("x" * 300)[4:9],
    ],
    ids=["longer than allowed", "empty", "no value", "less than a value"],
)
def test_what_is_no_message_is_broken(nonsense: bytes):
    with pytest.raises(Broken):
        Frames().feed(nonsense)


def test_only_plain_values_can_be_sent():
    with pytest.raises(ValueError, match="unmarshallable"):
        frame(("report", ValueError("no plain value")))


def test_the_manager_is_not_held_up_by_a_worker_that_does_not_read(
    ends: tuple[socket.socket, socket.socket],
):
    ours, theirs = ends
    manager, worker = ManagerEnd(ours.fileno()), WorkerEnd(theirs.fileno())
    sent = [LARGE, ("stop",), LARGE]
    came: list[Any] = []

    for message in sent:
        manager.send(message)
    assert manager.has_unsent
    while manager.has_unsent:
        came += worker.receive_available()
        manager.flush()
    came += worker.receive_available()

    assert came == sent


def test_the_manager_waits_for_no_message(ends: tuple[socket.socket, socket.socket]):
    ours, theirs = ends
    manager = ManagerEnd(ours.fileno())

    assert manager.receive() == []
    theirs.send(frame("late")[:3])
    assert manager.receive() == []
    theirs.send(frame("late")[3:])
    assert manager.receive() == ["late"]


def test_the_manager_receives_a_large_message_at_once_if_it_is_all_there(tmp_path: Path):
    stream = tmp_path / "stream"
    stream.write_bytes(frame(LARGE) + frame("next"))

    with stream.open("rb") as file:
        assert ManagerEnd(file.fileno()).receive() == [LARGE, "next"]


def test_the_manager_sees_the_end_of_the_pipe(ends: tuple[socket.socket, socket.socket]):
    ours, theirs = ends
    manager = ManagerEnd(ours.fileno())
    theirs.send(frame("last"))
    theirs.close()

    assert manager.receive() == ["last"]
    with pytest.raises(Broken, match=r"^end of file$"):
        manager.receive()


def test_a_worker_that_died_before_it_read_all_is_no_broken_pipe(ends: tuple[socket.socket, socket.socket]):
    ours, theirs = ends
    manager = ManagerEnd(ours.fileno())
    manager.send(("tasks", [1, 2, 3]))
    theirs.send(frame("last"))
    theirs.close()

    assert manager.receive() == ["last"]
    with pytest.raises(Broken, match=r"^end of file$"):
        manager.receive()


def test_the_manager_sees_that_a_worker_ended_in_the_middle_of_a_message(
    ends: tuple[socket.socket, socket.socket],
):
    ours, theirs = ends
    manager = ManagerEnd(ours.fileno())
    theirs.send(frame("last")[:-1])
    theirs.close()

    assert manager.receive() == []
    with pytest.raises(Broken, match=r"^torn frame$"):
        manager.receive()


def test_what_cannot_be_sent_is_forgotten(ends: tuple[socket.socket, socket.socket]):
    ours, theirs = ends
    manager = ManagerEnd(ours.fileno())
    manager.send(LARGE)
    theirs.close()

    with pytest.raises(Broken, match="writing failed"):
        manager.flush()
    assert not manager.has_unsent


def test_closing_forgets_what_is_unsent(ends: tuple[socket.socket, socket.socket]):
    ours, theirs = ends
    manager = ManagerEnd(ours.detach())
    manager.send(LARGE)

    manager.close()

    assert not manager.has_unsent
    with pytest.raises(Broken):
        WorkerEnd(theirs.fileno()).receive()


def test_the_manager_cannot_use_what_is_no_pipe(unreadable: int):
    manager = ManagerEnd(unreadable)

    with pytest.raises(Broken, match="reading failed"):
        manager.receive()
    with pytest.raises(Broken, match="writing failed"):
        manager.send("stop")


def test_a_worker_waits_until_a_message_is_complete(ends: tuple[socket.socket, socket.socket]):
    ours, theirs = ends
    sending = threading.Thread(target=ours.sendall, args=(frame(LARGE),))
    sending.start()

    assert WorkerEnd(theirs.fileno()).receive() == [LARGE]
    sending.join()


def test_a_worker_sends_a_message_of_any_length(ends: tuple[socket.socket, socket.socket]):
    ours, theirs = ends
    sending = threading.Thread(target=WorkerEnd(theirs.fileno()).send, args=(LARGE,))
    sending.start()

    assert WorkerEnd(ours.fileno()).receive() == [LARGE]
    sending.join()


def test_a_worker_sees_that_its_manager_is_gone(ends: tuple[socket.socket, socket.socket]):
    ours, theirs = ends
    worker = WorkerEnd(theirs.fileno())
    ours.close()

    with pytest.raises(Broken, match=r"^end of file$"):
        worker.receive()
    with pytest.raises(Broken, match="writing failed"):
        worker.send("report")


def test_a_worker_takes_what_has_come_without_waiting(ends: tuple[socket.socket, socket.socket]):
    ours, theirs = ends
    worker = WorkerEnd(theirs.fileno())

    assert worker.receive_available() == []
    ours.send(frame("one") + frame("two")[:2])
    assert worker.receive_available() == ["one"]
    ours.send(frame("two")[2:])
    ours.close()
    assert worker.receive_available() == ["two"]
    assert worker.receive_available() == []


def test_a_worker_cannot_use_what_is_no_pipe(unreadable: int):
    worker = WorkerEnd(unreadable)

    assert worker.receive_available() == []
    with pytest.raises(Broken, match="reading failed"):
        worker.receive()
