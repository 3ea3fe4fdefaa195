"""Describe the machine and the versions, which readers need to judge the figures."""

import os
import platform
import statistics
import tempfile
import time
from collections.abc import Mapping
from importlib.metadata import version
from pathlib import Path

import django

import django_partisan

BLOCK = bytes(8192)
SYNC_TRIES = 50
GIB = 1 << 30


def describe(server: Mapping[str, str], options: str) -> str:
    """Return the head of a report."""
    driver = f"psycopg2 {version('psycopg2-binary')}"
    versions = f"Python {platform.python_version()}, Django {django.get_version()}, {driver}"
    settings = ", ".join(f"{name} {value}" for name, value in server.items() if name != "server_version")
    return "\n".join(
        [
            f"django-partisan {django_partisan.__version__}, {versions}",
            f"PostgreSQL {server.get('server_version', 'unknown')}: {settings}",
            f"{_cpu()}, {len(os.sched_getaffinity(0))} cores usable, {_memory()}, {_kernel()}",
            f"fdatasync of 8 kB: {1e6 * sync_seconds():.0f} us; load at the start: {_load()}",
            f"{time.strftime('%Y-%m-%d %H:%M %Z')}; {options}",
        ]
    )


def sync_seconds() -> float:
    """Return how long one `fdatasync` of a database page takes in the temporary folder, in seconds."""
    costs = []
    with tempfile.TemporaryFile() as file:
        for _ in range(SYNC_TRIES):
            file.write(BLOCK)
            file.flush()
            begun = time.perf_counter()
            os.fdatasync(file.fileno())
            costs.append(time.perf_counter() - begun)
    return statistics.median(costs)


def _kernel() -> str:
    return f"{platform.system()} {platform.release()}"


def _cpu() -> str:
    for line in Path("/proc/cpuinfo").read_text().splitlines():
        if line.startswith("model name"):
            return line.split(":", 1)[1].strip()
    return platform.machine()


def _memory() -> str:
    total = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    return f"{total / GIB:.0f} GiB"


def _load() -> str:
    return " ".join(f"{value:.2f}" for value in os.getloadavg())
