"""Scrape the measured manager once a second and receive its spans, from outside its process tree.

It leaves the tree by a double fork, so that its CPU time and memory do not count as the manager's. When its
standard input closes, it writes a note with its results and exits.
"""

import argparse
import json
import os
import select
import sys
import threading
import time
import urllib.request
from collections.abc import Callable
from dataclasses import asdict, dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

SCRAPE_SECONDS = 1.0
TIMEOUT_SECONDS = 10.0
SPAN_NAME = b"process default"
"""The name of a run's span. It is counted in the raw message: decoding would cost as much as sending."""


@dataclass
class CompanionResult:
    """The results of a companion; `scrapes` has the duration of each scrape in seconds."""

    name: str
    scrapes: list[float] = field(default_factory=list)
    scrapes_failed: int = 0
    spans: int = 0
    span_bytes: int = 0
    log_lines: int = 0
    log_bytes: int = 0


def main() -> None:
    """Start the sink, leave the caller's process tree and watch until standard input closes."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--name", required=True)
    parser.add_argument("--metrics-port", type=int)
    parser.add_argument("--sink-port", type=int)
    parser.add_argument("--log", type=Path)
    arguments = parser.parse_args()
    seen = CompanionResult(arguments.name)
    sink = _sink(seen, arguments.sink_port) if arguments.sink_port else None
    if os.fork():
        os._exit(0)  # the port is bound, so the caller can continue
    os.setsid()
    if sink:
        threading.Thread(target=sink.serve_forever, daemon=True).start()
    watch(seen, _scraper(arguments.metrics_port))
    if arguments.log and arguments.log.exists():
        _count_lines(seen, arguments.log)
        arguments.log.unlink()
    if folder := os.environ.get("PARTISAN_BENCH_NOTES"):
        target = Path(folder) / f"{arguments.name}-{os.getpid()}.json"
        part = target.with_suffix(".part")
        part.write_text(json.dumps(asdict(seen)))
        part.rename(target)


def watch(seen: CompanionResult, scrape: Callable[[], None] | None) -> None:
    """Scrape once a second until standard input closes; failures before the first success do not count."""
    due = time.monotonic()
    while True:
        due = max(due + SCRAPE_SECONDS, time.monotonic())
        if select.select([sys.stdin], [], [], due - time.monotonic())[0]:
            return
        if scrape is None:
            continue
        begun = time.monotonic()
        try:
            scrape()
        except OSError:
            seen.scrapes_failed += bool(seen.scrapes)
        else:
            seen.scrapes.append(time.monotonic() - begun)


def _scraper(port: int | None) -> Callable[[], None] | None:
    if port is None:
        return None
    request = urllib.request.Request(f"http://127.0.0.1:{port}/metrics", headers={"Accept": "text/plain"})

    def scrape() -> None:
        with urllib.request.urlopen(request, timeout=TIMEOUT_SECONDS) as answer:
            answer.read()

    return scrape


def _sink(seen: CompanionResult, port: int) -> ThreadingHTTPServer:
    lock = threading.Lock()

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"  # lets the exporter keep its connection

        def do_POST(self) -> None:
            body = self.rfile.read(int(self.headers["Content-Length"]))
            with lock:
                seen.spans += body.count(SPAN_NAME)
                seen.span_bytes += len(body)
            self.send_response(200)
            self.send_header("Content-Type", "application/x-protobuf")
            self.send_header("Content-Length", "0")
            self.end_headers()

        def log_message(self, format: str, *args: object) -> None:  # noqa: A002 - the base class's name
            """Log nothing."""

    return ThreadingHTTPServer(("127.0.0.1", port), Handler)


def _count_lines(seen: CompanionResult, log: Path) -> None:
    with open(log, "rb") as file:
        while block := file.read(1 << 20):
            seen.log_lines += block.count(b"\n")
            seen.log_bytes += len(block)


if __name__ == "__main__":
    main()
