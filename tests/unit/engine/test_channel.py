"""The channel carries values and descriptors between a manager and its fork server."""

import os
import socket
import struct
import threading
from collections.abc import Iterator

import pytest

from django_partisan.engine.forkserver.channel import Channel

Ends = tuple[Channel, Channel]


@pytest.fixture
def ends() -> Iterator[Ends]:
    pair = socket.socketpair()
    ends = Channel(pair[0]), Channel(pair[1])
    yield ends
    for end in ends:
        end.close()


def test_values_and_descriptors_arrive_in_order(ends: Ends):
    read_end, write_end = os.pipe()
    os.set_inheritable(write_end, True)

    ends[0].send((1, "start", b"spec"), [write_end])
    ends[0].send((2, None))
    value, [received] = ends[1].receive()
    os.write(received, b"!")

    assert value == (1, "start", b"spec")
    assert not os.get_inheritable(received)
    assert os.read(read_end, 2) == b"!"
    assert ends[1].receive() == ((2, None), [])
    for descriptor in (read_end, write_end, received):
        os.close(descriptor)


def test_a_value_that_is_larger_than_the_sockets_buffer_arrives_whole(ends: Ends):
    large = os.urandom(1 << 22)
    sender = threading.Thread(target=ends[0].send, args=(large,))
    sender.start()

    assert ends[1].receive() == (large, [])
    sender.join()


def test_the_end_of_the_channel_is_an_error(ends: Ends):
    ends[0].close()

    with pytest.raises(EOFError):
        ends[1].receive()
    with pytest.raises(BrokenPipeError):
        ends[1].send(1)


def test_an_end_in_the_middle_of_a_message_is_an_error():
    ours, theirs = socket.socketpair()
    theirs.sendall(struct.pack("!I", 100) + b"only this")
    theirs.close()

    channel = Channel(ours)
    with pytest.raises(EOFError, match=r"^the other end of the channel is closed$"):
        channel.receive()
    channel.close()


def test_an_end_that_was_closed_before_it_read_everything_is_an_error(ends: Ends):
    ends[1].send("never read")

    ends[0].close()

    with pytest.raises(EOFError):
        ends[1].receive()


def test_a_timeout_loses_no_message(ends: Ends):
    with pytest.raises(TimeoutError):
        ends[1].receive(0.01)

    ends[0].send("late")

    assert ends[1].receive(10) == ("late", [])
