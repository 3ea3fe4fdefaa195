"""The clock of leases."""

import time

from django_partisan.engine import boot_clock


def test_it_counts_the_seconds_since_the_machine_started_with_those_it_was_suspended():
    before = time.clock_gettime(time.CLOCK_BOOTTIME)

    assert before <= boot_clock.now() <= time.clock_gettime(time.CLOCK_BOOTTIME)


def test_a_system_without_such_a_clock_has_the_monotonic_one():
    assert boot_clock.clock(None) is time.monotonic
