"""Run one thread at a time, in a fixed order and by a simulated clock, so that counts are reproducible.

Manager and workers react to each other: how many tasks a claim takes or a report contains depends on which is
faster. Here, a thread runs until it waits; then the next thread in line that can continue runs. The clock
moves only when it is read, or when no thread can continue before a later time.

| thread | does what |
| --- | --- |
| a member | runs while it has the turn; passes it on when it waits and when it ends |
| the director, the main thread | has the turn when no member can continue: enqueues, advances time, counts |
"""

import _thread
import select
import threading
from collections.abc import Callable
from typing import Final

POLL_SECONDS: Final = 5e-6
"""How far the clock moves each time it is read: about the duration of an empty task."""
WAIT_SECONDS: Final = 20e-6
"""How far the clock moves when a thread waits."""
LONGEST_SECONDS: Final = 120.0
"""How long to wait for a condition, by the simulated clock."""
OUTSIDE_SECONDS: Final = 120.0
"""How long, by the real clock, PostgreSQL may take to send a notification."""

_poll: Final = select.poll


class NoProgress(Exception):
    """No thread can continue, or the awaited condition did not come true."""


class Member:
    """A thread that takes turns. It waits for a descriptor, at most until a given time."""

    def __init__(self, name: str) -> None:
        self.name = name
        self.gate = _thread.allocate_lock()
        self.gate.acquire()
        self.fd: int | None = None
        self.until: float | None = None
        self.has_ended = False
        self.waits = 0
        """How often it has waited, which is how often it was woken."""

    def can_go_on(self, now: float) -> bool:
        """Return whether the descriptor is ready or the time has come."""
        if self.has_ended:
            return False
        if self.fd is None or (self.until is not None and self.until <= now):
            return True
        poll = _poll()
        poll.register(self.fd, select.POLLIN)
        return bool(poll.poll(0))


class Lockstep:
    """The members, the current turn and the clock. The director creates it."""

    def __init__(self) -> None:
        self.now = 1_000_000.0
        self.members: list[Member] = []
        self.failed: list[BaseException] = []
        self._director = Member("director")
        self._by_thread = {threading.get_ident(): self._director}

    def monotonic(self) -> float:
        """Return the simulated time; a replacement for `time.monotonic()`."""
        self.now += POLL_SECONDS
        return self.now

    # Called by the threads of members.

    def join(self, name: str) -> Member:
        """Add a member, whose thread is about to start."""
        member = Member(name)
        self.members.append(member)
        return member

    def enter(self, member: Member) -> None:
        """Wait for the first turn."""
        self._by_thread[threading.get_ident()] = member
        member.gate.acquire()

    def leave(self, member: Member, error: BaseException | None) -> None:
        """Pass the turn on and leave."""
        if error is not None:
            self.failed.append(error)
        del self._by_thread[threading.get_ident()]
        member.has_ended = True
        self._next_after(member).gate.release()

    def own(self) -> Member | None:
        """Return the member of the calling thread, if there is one."""
        return self._by_thread.get(threading.get_ident())

    def wait(self, fd: int, timeout: float | None) -> None:
        """Wait until a descriptor can be read, or for some seconds of the simulated clock."""
        member = self.own()
        if member is None or member is self._director:
            poll = _poll()
            poll.register(fd, select.POLLIN)
            poll.poll(None if timeout is None else timeout * 1000)
            return
        self.now += WAIT_SECONDS
        member.fd, member.until = fd, None if timeout is None else self.now + max(timeout, 0.0)
        self._pass_turn(member)
        member.fd = member.until = None
        member.waits += 1

    # Called by the director.

    def quiet(self) -> None:
        """Let the members run until none can continue."""
        self._pass_turn(self._director)
        if self.failed:
            raise NoProgress(f"a thread has failed: {self.failed[0]!r}") from self.failed[0]

    def expect(self) -> None:
        """Wait, by the real clock, until an external event lets a member continue."""
        poll = _poll()
        for member in self.members:
            if member.fd is not None and not member.has_ended:
                poll.register(member.fd, select.POLLIN)
        if not poll.poll(OUTSIDE_SECONDS * 1000):
            raise NoProgress("the manager was not notified of a task")
        self.quiet()

    def until(self, condition: Callable[[], bool]) -> None:
        """Let the members run, and advance the clock, until a condition is met."""
        deadline = self.now + LONGEST_SECONDS
        self.quiet()
        while not condition():
            self.now = max(self.now, self._next_moment())
            if self.now > deadline:
                raise NoProgress(f"nothing has happened for {LONGEST_SECONDS:.0f} s: {self._waiting()}")
            self.quiet()

    def pass_time(self, seconds: float) -> None:
        """Advance the clock by some seconds, and let the members run."""
        end = self.now + seconds
        self.quiet()
        while (moment := self._next_moment()) <= end:
            self.now = max(self.now, moment)
            self.quiet()
        self.now = max(self.now, end)
        self.quiet()

    def _next_moment(self) -> float:
        moments = [m.until for m in self.members if m.until is not None and not m.has_ended]
        return min(moments, default=float("inf"))

    def _waiting(self) -> str:
        return ", ".join(f"{m.name} until {m.until}" for m in self.members if not m.has_ended)

    def _pass_turn(self, member: Member) -> None:
        following = self._next_after(member)
        if following is not member:
            following.gate.release()
            member.gate.acquire()

    def _next_after(self, member: Member) -> Member:
        """Return the next thread in line that can continue: the director only if no member can."""
        members = self.members
        start = members.index(member) + 1 if member in members else 0
        for place in range(start, start + len(members)):
            candidate = members[place % len(members)]
            if candidate.can_go_on(self.now):
                return candidate
        return self._director
