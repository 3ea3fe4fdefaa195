"""Real Prometheus, real Alertmanager, and a webhook of our own that hears what they say."""

import json
import shutil
import socket
import subprocess
import threading
import urllib.error
import urllib.parse
import urllib.request
from collections.abc import Mapping, Sequence
from contextlib import suppress
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any, TypedDict

import yaml

from tests.support.commands import ROOT
from tests.support.waiting import wait_until
from tools import parts
from tools.parts.go_programs import PROMETHEUS

HOST = "127.0.0.1"
INHIBITION = ROOT / "grafana" / "alertmanager" / "alertmanager.yaml"


class NotReady(AssertionError):
    """What was waited for did not come in time."""


def program(name: str) -> str:
    """Return the path of Prometheus 3's program if it was built, else that of an installed one.

    It says how to install it if there is none.
    """
    with suppress(parts.PartMissing):
        if (built := parts.find(PROMETHEUS).with_name(name)).exists():
            return str(built)
    path = shutil.which(name)
    if path is None:
        raise NotReady(
            f"{name} is missing; on Debian: apt-get install prometheus prometheus-alertmanager, "
            f"or run make parts PARTS={PROMETHEUS.name}"
        )
    return path


def free_port() -> int:
    """Return a port that nobody listens on now."""
    with socket.socket() as listener:
        listener.bind((HOST, 0))
        return int(listener.getsockname()[1])


def listens(port: int) -> bool:
    """Return whether somebody accepts connections on a port."""
    with socket.socket() as probe:
        return probe.connect_ex((HOST, port)) == 0


def get(url: str, **query: Any) -> Any:
    """Return the JSON that a server answers; raise ``NotReady`` with its words for an error."""
    try:
        with urllib.request.urlopen(f"{url}?{urllib.parse.urlencode(query)}", timeout=10) as response:
            return json.load(response)
    except urllib.error.HTTPError as error:
        raise NotReady(f"{url} {query}: {error.read().decode()}") from error


def answers(url: str) -> bool:
    """Tell whether a server answers with success."""
    try:
        with urllib.request.urlopen(url, timeout=2) as response:
            return bool(response.status == 200)
    except OSError:
        return False


class Child:
    """A process that writes into a log and is ended for certain."""

    def __init__(
        self, name: str, command: Sequence[str], folder: Path, env: Mapping[str, str] | None = None
    ) -> None:
        self.name = name
        self.log = folder / f"{name}.log"
        with self.log.open("ab") as log:
            self.process = subprocess.Popen(command, stdout=log, stderr=subprocess.STDOUT, env=env)

    def stop(self, seconds: float = 20) -> int:
        """Ask the process to end, force it after ``seconds``, and return its exit code."""
        self.process.terminate()
        try:
            return self.process.wait(seconds)
        except subprocess.TimeoutExpired:
            self.process.kill()
            return self.process.wait()

    def kill(self) -> None:
        """Kill the process, as in a crash."""
        self.process.kill()
        self.process.wait()

    def last_words(self) -> str:
        """Return the end of the log."""
        return self.log.read_text(errors="replace")[-4000:]

    def wait_until_it_answers(self, url: str, seconds: float = 30) -> None:
        """Wait for success at ``url``; raise with the log's end if the process ends before."""

        def ready() -> bool:
            if self.process.poll() is not None:
                raise NotReady(f"{self.name} ended: {self.last_words()}")
            return answers(url)

        wait_until(ready, seconds, lambda: f"{self.name} at {url}\n{self.last_words()}", every=0.1)


class Message(TypedDict):
    """What Alertmanager says of one alert; ``status`` is firing or resolved."""

    status: str
    labels: dict[str, str]
    annotations: dict[str, str]


class Webhook:
    """Hears of alerts from Alertmanager."""

    def __init__(self) -> None:
        self.heard: list[Message] = []
        webhook = self

        class Handler(BaseHTTPRequestHandler):
            def do_POST(self) -> None:
                body = self.rfile.read(int(self.headers["content-length"]))
                webhook.heard.extend(json.loads(body)["alerts"])
                self.send_response(200)
                self.end_headers()

            def log_message(self, *args: Any) -> None:
                """Stay silent."""

        self._server = ThreadingHTTPServer((HOST, 0), Handler)
        self.url = f"http://{HOST}:{self._server.server_port}/"
        threading.Thread(target=self._server.serve_forever, daemon=True).start()

    def has_heard(self, status: str, alert: str, **labels: str) -> Message | None:
        """Return the latest message of an alert with this status and these labels, if there is one."""
        wanted = {"alertname": alert, **labels}.items()
        for message in reversed(self.heard):
            if message["status"] == status and wanted <= message["labels"].items():
                return message
        return None

    def stop(self) -> None:
        """Hear nothing more."""
        self._server.shutdown()
        self._server.server_close()


class Alertmanager(Child):
    """Passes on every alert at once, each by itself, to a webhook; mutes as the shipped file says."""

    def __init__(self, folder: Path, webhook: Webhook) -> None:
        self.port = free_port()
        config = {
            "route": {
                "receiver": "webhook",
                "group_by": ["..."],
                "group_wait": "0s",
                "group_interval": "1s",
                "repeat_interval": "1h",
            },
            "inhibit_rules": yaml.safe_load(INHIBITION.read_text())["inhibit_rules"],
            "receivers": [
                {"name": "webhook", "webhook_configs": [{"url": webhook.url, "send_resolved": True}]}
            ],
        }
        file = folder / "alertmanager.json"
        file.write_text(json.dumps(config))
        address = f"{HOST}:{self.port}"
        self.url = f"http://{address}"
        command = [
            program("prometheus-alertmanager"),
            f"--config.file={file}",
            f"--storage.path={folder / 'alertmanager'}",
            f"--web.listen-address={address}",
            "--cluster.listen-address=",
        ]
        super().__init__("alertmanager", command, folder)
        self.wait_until_it_answers(f"{self.url}/-/ready")

    def fire(self, *alerts: dict[str, str]) -> None:
        """Say that alerts with these labels fire, as Prometheus does."""
        body = json.dumps([{"labels": labels} for labels in alerts]).encode()
        request = urllib.request.Request(
            f"{self.url}/api/v2/alerts", body, {"Content-Type": "application/json"}
        )
        with urllib.request.urlopen(request, timeout=10) as response:
            assert response.status == 200

    def state_of(self, alert: str, **labels: str) -> str | None:
        """Return ``active``, ``suppressed`` or ``unprocessed``; ``None`` if no such alert is known."""
        wanted = {"alertname": alert, **labels}.items()
        for known in get(f"{self.url}/api/v2/alerts"):
            if wanted <= known["labels"].items():
                return str(known["status"]["state"])
        return None


class Prometheus(Child):
    """Scrapes and evaluates every second; targets come and go while it runs."""

    def __init__(self, folder: Path, rules: Mapping[str, str], alertmanager: Alertmanager) -> None:
        self.url = f"http://{HOST}:{free_port()}"
        self._targets = folder / "targets.json"
        self._known: dict[str, str] = {}
        self._write_targets()
        for name, text in rules.items():
            (folder / name).write_text(text)
        config = {
            "global": {"scrape_interval": "1s", "scrape_timeout": "1s", "evaluation_interval": "1s"},
            "rule_files": [str(folder / name) for name in rules],
            "scrape_configs": [
                {"job_name": "partisan", "file_sd_configs": [{"files": [str(self._targets)]}]}
            ],
            "alerting": {
                "alertmanagers": [{"static_configs": [{"targets": [f"{HOST}:{alertmanager.port}"]}]}]
            },
        }
        file = folder / "prometheus.json"
        file.write_text(json.dumps(config))
        command = [
            program("prometheus"),
            f"--config.file={file}",
            f"--storage.tsdb.path={folder / 'tsdb'}",
            f"--web.listen-address={self.url.removeprefix('http://')}",
            "--enable-feature=exemplar-storage",
            "--rules.alert.resend-delay=1s",
        ]
        super().__init__("prometheus", command, folder)
        self.wait_until_it_answers(f"{self.url}/-/ready")

    def scrape(self, port: int) -> None:
        """Scrape a manager's port from now on."""
        self._known[f"{HOST}:{port}"] = ""
        self._write_targets()

    def forget(self, port: int) -> None:
        """Scrape a manager's port no more."""
        self._known.pop(f"{HOST}:{port}", None)
        self._write_targets()

    def query(self, expression: str) -> list[dict[str, Any]]:
        """Return the series of an instant query."""
        return get(f"{self.url}/api/v1/query", query=expression)["data"]["result"]  # type: ignore[no-any-return]

    def query_range(self, expression: str, start: float, end: float, step: float) -> list[dict[str, Any]]:
        """Return the series of a range query; times and step are in seconds."""
        data = get(f"{self.url}/api/v1/query_range", query=expression, start=start, end=end, step=step)[
            "data"
        ]
        return data["result"]  # type: ignore[no-any-return]

    def exemplars(self, expression: str, start: float, end: float) -> list[dict[str, Any]]:
        """Return the exemplars of the series that an expression reads."""
        found = get(f"{self.url}/api/v1/query_exemplars", query=expression, start=start, end=end)
        return found["data"]  # type: ignore[no-any-return]

    def metadata(self) -> dict[str, Any]:
        """Return the families of the last scrapes, by name."""
        return get(f"{self.url}/api/v1/metadata")["data"]  # type: ignore[no-any-return]

    def _write_targets(self) -> None:
        # Renamed into place: Prometheus must not read half a file.
        new = self._targets.with_suffix(".new")
        new.write_text(json.dumps([{"targets": sorted(self._known)}]))
        new.replace(self._targets)
