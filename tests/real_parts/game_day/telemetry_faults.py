"""A collector that refuses or hangs, and a full disk for the log."""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from tests.real_parts.game_day.site import Fault, Site
from tools.otlp_sink import Mode

FULL = Path("/dev/full")


def collector(mode: Mode) -> Fault:
    """Return the fault that the collector of spans refuses, or does not answer; it accepts again."""

    @contextmanager
    def fault(site: Site) -> Iterator[None]:
        site.collector.mode = mode
        yield
        site.collector.mode = "accept"
        site.collector.let_go()

    return fault


@contextmanager
def log_disk_full(site: Site) -> Iterator[None]:
    """Have every write to the log fail for lack of space; then write to a new file."""
    site.log_file.unlink()
    site.log_file.symlink_to(FULL)
    yield
    site.log_file.unlink()
