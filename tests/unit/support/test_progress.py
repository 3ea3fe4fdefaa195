"""Deadlines are extended while there is progress, and not for a process that hangs."""

import os
import subprocess
import sys
import time
from itertools import count

import pytest

from tests.support.progress import cpu_seconds, descendants, progress_of
from tests.support.waiting import wait_until


def test_what_moves_is_given_more_than_its_seconds():
    until = time.monotonic() + 0.3

    assert wait_until(lambda: time.monotonic() > until, 0.05, progress=count().__next__)


def test_what_stands_still_fails_after_its_seconds():
    with pytest.raises(AssertionError, match=r"not within 0\.05 s: the end"):
        wait_until(lambda: False, 0.05, "the end", progress=lambda: "the same")


def test_a_process_that_computes_makes_progress_and_one_that_sleeps_does_not():
    progress = progress_of(lambda: [os.getpid()], 0.6)
    asleep = progress_of(lambda: [os.getppid()], 3600)
    before, before_asleep = progress(), asleep()

    wait_until(lambda: progress() != before, 20)

    assert asleep() == before_asleep


@pytest.mark.slow
def test_the_descendants_of_a_process_are_found_and_a_dead_one_has_used_nothing():
    with subprocess.Popen([sys.executable, "-c", "input()"], stdin=subprocess.PIPE) as child:
        assert {os.getpid(), child.pid} <= set(descendants(os.getpid()))
        child.communicate(b"\n")
    assert child.pid not in descendants(os.getpid())
    assert cpu_seconds([child.pid]) == 0
