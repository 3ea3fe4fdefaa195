"""Probes in the measured processes, whose results `python -m bench.profile` reads.

They are active if `PARTISAN_BENCH_PROFILE` names a folder; `PARTISAN_BENCH_PROBE` chooses one of them:
`calls` (cProfile) times every call by the clock, which overstates the cost of small functions. `sample` reads
the position of each thread every 2 ms and attributes to it the CPU time used since the last sample. It is
cheap, but it sees a thread only where the thread releases the GIL, which is misleading for short turns
between waits. `steps` times the functions in `PARTISAN_BENCH_STEPS` (`module:Class.method`, ...).
"""

import cProfile
import functools
import importlib
import json
import os
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, ExitStack, contextmanager
from pathlib import Path
from typing import Any, NoReturn

from bench.sampler import Sampler

FOLDER = "PARTISAN_BENCH_PROFILE"
PROBE = "PARTISAN_BENCH_PROBE"
STEPS = "PARTISAN_BENCH_STEPS"
CALLS, SAMPLE = "calls", "sample"

Dump = Callable[[str], None]


class Steps:
    """Calls and seconds of chosen functions, by name."""

    def __init__(self) -> None:
        self.found: dict[str, list[float]] = {}

    def wrap(self, place: str) -> None:
        """Time all further calls of the function at `module:qualified.name`."""
        module, _, path = place.partition(":")
        *owners, name = path.split(".")
        owner: Any = functools.reduce(getattr, owners, importlib.import_module(module))
        timed = getattr(owner, name)

        @functools.wraps(timed)
        def timing(*args: Any, **kwargs: Any) -> Any:
            wall, cpu = time.perf_counter(), time.thread_time()
            try:
                return timed(*args, **kwargs)
            finally:
                totals = self.found.setdefault(place, [0, 0.0, 0.0])
                totals[0] += 1
                totals[1] += time.perf_counter() - wall
                totals[2] += time.thread_time() - cpu

        setattr(owner, name, timing)


_steps = Steps()


def install_from_environment() -> None:
    """Install the probes if the environment requests them; call it once, before any fork."""
    if FOLDER not in os.environ:
        return
    for place in filter(None, os.environ.get(STEPS, "").split(",")):
        _steps.wrap(place)
    from django_partisan.engine.worker.worker import Worker

    _wrap_run(Worker, lambda _: _until_exit(probing("worker")))
    if os.environ.get(PROBE, CALLS) == CALLS:
        _wrap_run(threading.Thread, lambda thread: _counting_calls(f"thread-{thread.name}"))


def of_manager() -> AbstractContextManager[None]:
    """Probe the code of a `with` block as the manager's."""
    return probing("manager")


@contextmanager
def probing(role: str) -> Iterator[None]:
    """Probe the code of a `with` block, and write the results into the folder."""
    if FOLDER not in os.environ:
        yield
        return
    probe = os.environ.get(PROBE, CALLS)
    if probe == CALLS:
        with _counting_calls(role):
            yield
        return
    sampler = Sampler() if probe == SAMPLE else None
    if sampler:
        sampler.start()
    begun = time.process_time()
    try:
        yield
    finally:
        told: dict[str, Any] = {
            "role": role,
            "cpu_seconds": time.process_time() - begun,
            "steps": _steps.found,
        }
        if sampler:
            told.update(sampler.finish())
        _path(role, "json").write_text(json.dumps(told))


@contextmanager
def _until_exit(probe: AbstractContextManager[None]) -> Iterator[None]:
    """Leave the context of `probe` even if the process ends with `os._exit`, as workers do."""
    exit_at_once = os._exit
    with ExitStack() as stack:
        stack.enter_context(probe)

        def exit_after_all(status: int) -> NoReturn:
            stack.close()
            exit_at_once(status)

        os._exit = exit_after_all
        yield


@contextmanager
def _counting_calls(role: str) -> Iterator[None]:
    profile = cProfile.Profile()
    profile.enable()
    try:
        yield
    finally:
        profile.disable()
        profile.dump_stats(_path(role, "prof"))


def _wrap_run(owner: Any, probe: Callable[[Any], AbstractContextManager[None]]) -> None:
    run = owner.run

    def probed(self: Any) -> None:
        with probe(self):
            run(self)

    owner.run = probed


def _path(role: str, suffix: str) -> Path:
    name = "".join(letter if letter.isalnum() else "-" for letter in role)
    return Path(os.environ[FOLDER]) / f"{name}.{os.getpid()}.{threading.get_native_id()}.{suffix}"
