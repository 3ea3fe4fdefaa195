"""Faults of managers and their processes: killed, stopped, hanging in a drain, or not scraped."""

import os
import signal
from collections.abc import Iterator
from contextlib import contextmanager

from tests.real_parts.game_day.site import Site
from tests.support.progress import descendants
from tests.support.tcp_proxy import TcpProxy
from tests.support.waiting import wait_until

RESTARTS = 3
PATIENCE_SECONDS = 60


@contextmanager
def manager_killed(site: Site) -> Iterator[None]:
    """Kill the queue's only manager; then start another."""
    site.manager.kill()
    yield
    site.replace_manager()


@contextmanager
def manager_stopped(site: Site) -> Iterator[None]:
    """Stop the process of the queue's only manager; then continue it."""
    site.manager.process.send_signal(signal.SIGSTOP)
    yield
    site.manager.process.send_signal(signal.SIGCONT)


@contextmanager
def manager_drained(site: Site) -> Iterator[None]:
    """Drain the queue's only manager while tasks are still enqueued; then start another."""
    site.manager.stop()
    yield
    site.replace_manager()


@contextmanager
def fork_server_killed(site: Site) -> Iterator[None]:
    """Kill the fork server, which the manager restarts itself."""
    os.kill(_fork_server(site.manager.process.pid), signal.SIGKILL)
    yield


@contextmanager
def drain_hangs(site: Site) -> Iterator[None]:
    """Drain a manager whose task does not end, while another serves the queue; then cancel the task."""
    site.enqueue("Nap", 3600)
    site.wait_for('partisan_oldest_run_age_seconds{JOB, processor="Nap"} > 1')
    other = site.start_manager()
    hanging, site.manager = site.manager, other
    hanging.process.terminate()
    yield
    site.command("partisan_cancel", "--processor", "Nap", "--yes")
    site.forget(hanging.port)
    hanging.process.wait(PATIENCE_SECONDS)


@contextmanager
def port_unreachable(site: Site) -> Iterator[None]:
    """Break the connection to the port of a second manager, which is alive; then repair it."""
    unseen = site.start_manager_unseen()
    with TcpProxy(unseen.port) as way:
        site.scrape(way.port)
        way.mode = "reset"
        yield
        way.mode = "pass"
        site.scrape(way.port)
        site.forget(way.port)


@contextmanager
def rolling_restarts(site: Site) -> Iterator[None]:
    """Replace the manager three times, starting the new one first, as a deploy does."""
    for _ in range(RESTARTS):
        site.replace_manager()
    yield


def _fork_server(manager: int) -> int:
    """Return the child process of a manager that is the parent of its workers."""

    def parents() -> list[int]:
        children = [pid for pid in descendants(manager) if pid != manager]
        return [pid for pid in children if len(list(descendants(pid))) > 1]

    return wait_until(parents, what="the fork server")[0]
