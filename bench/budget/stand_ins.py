"""Replace waits and clocks by those of the lockstep, before django-partisan is imported."""

import os
import re
import select
import selectors
import socket
import threading
import time
from types import ModuleType
from typing import Any, Final

from bench.budget.instructions import Instructions
from bench.budget.lockstep import Lockstep, Member

MANAGER: Final = "partisan-manager"
WORKER: Final = "partisan-worker"
CONTROL: Final = "partisan-control"
HOST: Final = "budget"
PID: Final = 2**22 + 1
"""A process id that no process has, so that workers' names have the same length on every machine."""

_MEMBERS: Final = re.compile(r"partisan-(manager|worker|control|claim|settle|pulse|chores)\b")


def role_of(name: str) -> str:
    """Return the role of a thread by its name: the manager's process or a worker's."""
    return "worker" if name.startswith((WORKER, CONTROL)) else "manager"


def install(lockstep: Lockstep, instructions: Instructions) -> None:
    """Replace clocks, waits and threads in this process."""
    _install_clocks(lockstep)
    _install_waits(lockstep)
    _install_threads(lockstep, instructions)
    _replace(socket, "gethostname", lambda: HOST)
    _replace(os, "getpid", lambda: PID)


def _install_clocks(lockstep: Lockstep) -> None:
    read_clock = time.clock_gettime
    ours = {time.CLOCK_MONOTONIC, getattr(time, "CLOCK_BOOTTIME", time.CLOCK_MONOTONIC)}

    def clock_gettime(clock: int, /) -> float:
        return lockstep.monotonic() if clock in ours else read_clock(clock)

    _replace(time, "monotonic", lockstep.monotonic)
    _replace(time, "clock_gettime", clock_gettime)


def _install_waits(lockstep: Lockstep) -> None:
    read, make_poll = os.read, select.poll

    class Selector(selectors.EpollSelector):
        def select(self, timeout: float | None = None) -> list[tuple[selectors.SelectorKey, int]]:
            lockstep.wait(self.fileno(), timeout)
            return super().select(0)

    class Poll:
        def __init__(self) -> None:
            self._poll = make_poll()
            self._fd = -1

        def register(self, fd: int, mask: int) -> None:
            self._fd = fd
            self._poll.register(fd, mask)

        def poll(self, timeout: float | None = None) -> list[tuple[int, int]]:
            if timeout != 0:
                lockstep.wait(self._fd, None if timeout is None else timeout / 1000)
            return self._poll.poll(0)

    def read_in_turn(fd: int, length: int, /) -> bytes:
        member = lockstep.own()
        if member is not None and member.name.startswith(CONTROL):  # it waits in read()
            lockstep.wait(fd, None)
        return read(fd, length)

    _replace(selectors, "DefaultSelector", Selector)
    _replace(select, "poll", Poll)
    _replace(os, "read", read_in_turn)


def _install_threads(lockstep: Lockstep, instructions: Instructions) -> None:
    class Thread(threading.Thread):
        _member: Member | None = None

        def start(self) -> None:
            if _MEMBERS.match(self.name):
                self._member = lockstep.join(self.name)
            super().start()

        def run(self) -> None:
            member = self._member
            if member is None:
                super().run()
                return
            lockstep.enter(member)
            error: BaseException | None = None
            try:
                with instructions.counted(role_of(self.name)):
                    super().run()
            except BaseException as raised:
                error = raised
                raise
            finally:
                lockstep.leave(member, error)

    _replace(threading, "Thread", Thread)


def _replace(owner: ModuleType, name: str, stand_in: Any) -> None:
    setattr(owner, name, stand_in)
