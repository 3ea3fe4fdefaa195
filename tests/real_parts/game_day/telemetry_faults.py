"""Faults of telemetry: a collector that refuses or hangs, and a full disk for the log."""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from tests.real_parts.game_day.site import Fault, Site
from tools.otlp_sink import Mode

FULL = Path("/dev/full")


def collector(mode: Mode) -> Fault:
    """Return a fault in which the span collector refuses requests or does not answer, until recovery."""

    @contextmanager
    def fault(site: Site) -> Iterator[None]:
        site.collector.mode = mode
        yield
        site.collector.mode = "accept"
        site.collector.let_go()

    return fault


@contextmanager
def log_disk_full(site: Site) -> Iterator[None]:
    """Make every write to the log fail with a full disk; then write to a new file."""
    site.log_file.unlink()
    site.log_file.symlink_to(FULL)
    yield
    site.log_file.unlink()
