"""Threads in lockstep take turns in a fixed order, with a clock that moves only when they let it."""

import os
import threading

import pytest

from bench.budget.lockstep import LONGEST_SECONDS, WAIT_SECONDS, Lockstep, NoProgress

PATIENCE_SECONDS = 60


class Members:
    """Threads that take turns in a lockstep; each records what it did."""

    def __init__(self):
        self.lockstep = Lockstep()
        self.did = []
        self.threads = []

    def add(self, name, work):
        member = self.lockstep.join(name)

        def run():
            self.lockstep.enter(member)
            error = None
            try:
                work()
            except Exception as raised:
                error = raised
            self.lockstep.leave(member, error)

        self.threads.append(threading.Thread(target=run, daemon=True))
        self.threads[-1].start()
        return member

    def join(self):
        for thread in self.threads:
            thread.join(PATIENCE_SECONDS)
            assert not thread.is_alive()


@pytest.fixture
def members():
    made = Members()
    yield made
    made.join()


@pytest.fixture
def pipe():
    ends = os.pipe()
    yield ends
    for end in ends:
        os.close(end)


def test_members_run_one_after_the_other_each_until_it_waits(members, pipe):
    def work(name):
        for number in range(2):
            members.did.append(f"{name}{number}")
            members.lockstep.wait(pipe[0], 1.0)
        members.did.append(f"{name}2")

    for name in "abc":
        members.add(name, lambda name=name: work(name))

    members.lockstep.quiet()
    first = list(members.did)
    members.lockstep.pass_time(5.0)

    assert first == ["a0", "b0", "c0"]
    assert members.did == ["a0", "b0", "c0", "a1", "b1", "c1", "a2", "b2", "c2"]


def test_who_waits_for_a_descriptor_goes_on_when_it_can_be_read(members, pipe):
    member = members.add("reader", lambda: members.lockstep.wait(pipe[0], None))

    members.lockstep.quiet()
    waits_before = member.waits
    os.write(pipe[1], b"!")
    members.lockstep.expect()

    assert (waits_before, member.waits, member.has_ended) == (0, 1, True)


def test_time_passes_only_to_the_moments_that_somebody_waits_for(members, pipe):
    lockstep = members.lockstep
    moments = []

    def work():
        for seconds in (1.0, 10.0):
            lockstep.wait(pipe[0], seconds)
            moments.append(lockstep.now)

    start = lockstep.now
    members.add("sleeper", work)

    lockstep.until(lambda: len(moments) == 2)

    assert moments == pytest.approx([start + 1 + WAIT_SECONDS, start + 11 + 2 * WAIT_SECONDS])


def test_what_never_happens_ends_the_wait(members, pipe):
    lockstep = members.lockstep

    def work():
        while not members.did:
            lockstep.wait(pipe[0], 1.0)

    members.add("idler", work)

    with pytest.raises(NoProgress, match=f"nothing has happened for {LONGEST_SECONDS:.0f} s: idler until"):
        lockstep.until(lambda: False)

    members.did.append("enough")
    lockstep.pass_time(2.0)


def test_the_error_of_a_member_is_raised_by_the_director(members):
    def work():
        raise ValueError("broken")

    members.add("broken", work)

    with pytest.raises(NoProgress, match="broken"):
        members.lockstep.quiet()


def test_a_thread_that_is_no_member_waits_as_ever(members, pipe):
    found = []

    def work():
        members.lockstep.wait(pipe[0], None)
        found.append(members.lockstep.own())

    thread = threading.Thread(target=work, daemon=True)
    thread.start()
    os.write(pipe[1], b"!")
    thread.join(PATIENCE_SECONDS)

    assert not thread.is_alive()
    assert found == [None]
