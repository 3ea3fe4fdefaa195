"""A companion scrapes, accepts spans, and reports what it observed when the measurement has ended."""

import json
import os
import subprocess
import sys
import threading
import urllib.request
from http.server import BaseHTTPRequestHandler, HTTPServer

import pytest

from bench.companion import SPAN_NAME
from bench.surroundings import NOTES, free_port
from tests.support.waiting import wait_until

scraped = threading.Event()


class Metrics(BaseHTTPRequestHandler):
    def do_GET(self):
        self.send_response(200)
        self.end_headers()
        scraped.set()

    def log_message(self, format, *args):  # noqa: A002 - the base class's name
        pass


@pytest.fixture
def exporter():
    with HTTPServer(("127.0.0.1", 0), Metrics) as server:
        scraped.clear()
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        yield server
        server.shutdown()
        thread.join()


@pytest.mark.slow
def test_a_companion_notes_scrapes_spans_and_log_lines(tmp_path, exporter):
    log = tmp_path / "ecs.log"
    log.write_text("one\ntwo\n")
    sink = free_port()
    lifeline, hold = os.pipe()
    command = [sys.executable, "-m", "bench.companion", "--name", "full", "--log", str(log)]
    command += ["--metrics-port", str(exporter.server_port), "--sink-port", str(sink)]

    subprocess.run(command, stdin=lifeline, env=os.environ | {NOTES: str(tmp_path)}, check=True)
    os.close(lifeline)
    body = b"..." + SPAN_NAME + b"..." + SPAN_NAME
    with urllib.request.urlopen(f"http://127.0.0.1:{sink}/v1/traces", data=body) as answer:
        assert answer.status == 200
    assert scraped.wait(20)
    os.close(hold)
    (path,) = wait_until(lambda: list(tmp_path.glob("*.json")))

    seen = json.loads(path.read_text())
    assert (seen["name"], seen["spans"], seen["span_bytes"], seen["log_lines"]) == ("full", 2, len(body), 2)
    assert len(seen["scrapes"]) >= 1
    assert not log.exists()
