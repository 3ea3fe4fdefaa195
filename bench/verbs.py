"""The command line of the adapter, for use without the peers' harness, which has its own.

setup | one N | bulk N [MODE] | latency N GAP_MS | retain N | worker
"""

import json
import statistics
import sys
import time
from collections.abc import Callable, Iterable
from typing import Any

BULK = 1_000
"""The number of tasks in one call of the bulk function."""


def main(
    setup: Callable[[], None],
    one: Callable[[int, int], None],
    bulk: Callable[[Iterable[int], int], None],
    retain: Callable[[int], None],
    worker: Callable[[], None],
) -> None:
    """Execute the command line and print one line of JSON."""
    verb, *arguments = sys.argv[1:]
    told: dict[str, Any] = {}
    if verb == "setup":
        setup()
    elif verb == "one":
        told = _one(one, int(arguments[0]))
    elif verb == "bulk":
        told = _bulk(bulk, int(arguments[0]), int(arguments[1]) if len(arguments) > 1 else 0)
    elif verb == "latency":
        told = _latency(one, int(arguments[0]), float(arguments[1]) / 1000)
    elif verb == "retain":
        retain(int(arguments[0]))
    elif verb == "worker":
        worker()
    else:
        raise SystemExit(f"unknown verb {verb!r}")
    print(json.dumps(told), flush=True)


def _one(one: Callable[[int, int], None], count: int) -> dict[str, Any]:
    one(-1, 0)  # connects and imports
    with _Stopwatch() as watch:
        for i in range(count):
            one(i, 0)
    return watch.figures(count)


def _bulk(bulk: Callable[[Iterable[int], int], None], count: int, mode: int) -> dict[str, Any]:
    with _Stopwatch() as watch:
        for start in range(0, count, BULK):
            bulk(range(start, min(count, start + BULK)), mode)
    return watch.figures(count)


class _Stopwatch:
    """Times a `with` block: wall time and CPU time of this process."""

    def __enter__(self) -> "_Stopwatch":
        self._begun, self._cpu = time.perf_counter(), time.process_time()
        return self

    def __exit__(self, *exc_info: object) -> None:
        self._seconds = time.perf_counter() - self._begun
        self._cpu_seconds = time.process_time() - self._cpu

    def figures(self, count: int) -> dict[str, Any]:
        return {"rate": count / self._seconds, "cpu_us": 1e6 * self._cpu_seconds / count}


def _latency(one: Callable[[int, int], None], count: int, gap: float) -> dict[str, Any]:
    one(-1, 0)
    returned, costs = [], []
    due = time.monotonic()
    for i in range(count):
        due += gap
        time.sleep(max(0.0, due - time.monotonic()))
        called = time.monotonic()
        one(i, 1)
        returned.append(time.monotonic())
        costs.append(returned[-1] - called)
    return {"returned": returned, "cost_p50_ms": 1000 * statistics.median(costs)}
