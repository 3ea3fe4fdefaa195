"""Real Prometheus, real Alertmanager, and our own webhook that receives their notifications."""

import json
import threading
import time
import urllib.request
from collections.abc import Mapping
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any, TypedDict

import yaml

from tests.real_parts.servers import HOST, free_port, get, program
from tests.support.child import Child
from tests.support.commands import ROOT

INHIBITION = ROOT / "grafana" / "alertmanager" / "alertmanager.yaml"
JOB = "partisan"


class Message(TypedDict):
    """Alertmanager's notification about one alert; ``status`` is firing or resolved.

    ``received_at`` is a time by the monotonic clock.
    """

    status: str
    labels: dict[str, str]
    annotations: dict[str, str]
    received_at: float


class Webhook:
    """Receives the notifications of Alertmanager."""

    def __init__(self) -> None:
        self.received: list[Message] = []
        webhook = self

        class Handler(BaseHTTPRequestHandler):
            def do_POST(self) -> None:
                body = self.rfile.read(int(self.headers["content-length"]))
                received_at = time.monotonic()
                webhook.received += [
                    Message(
                        status=alert["status"],
                        labels=alert["labels"],
                        annotations=alert["annotations"],
                        received_at=received_at,
                    )
                    for alert in json.loads(body)["alerts"]
                ]
                self.send_response(200)
                self.end_headers()

            def log_message(self, *args: Any) -> None:
                """Log nothing."""

        self._server = ThreadingHTTPServer((HOST, 0), Handler)
        self.url = f"http://{HOST}:{self._server.server_port}/"
        threading.Thread(target=self._server.serve_forever, daemon=True).start()

    def has_received(self, status: str, alert: str, **labels: str) -> Message | None:
        """Return the latest message for an alert with this status and these labels, or ``None``."""
        wanted = {"alertname": alert, **labels}.items()
        for message in reversed(self.received):
            if message["status"] == status and wanted <= message["labels"].items():
                return message
        return None

    def stop(self) -> None:
        """Stop receiving."""
        self._server.shutdown()
        self._server.server_close()


class Alertmanager(Child):
    """Sends each alert separately to a webhook, after ``wait``; mutes according to the shipped file."""

    def __init__(self, folder: Path, webhook: Webhook, wait: str = "0s") -> None:
        self.port = free_port()
        config = {
            "route": {
                "receiver": "webhook",
                "group_by": ["..."],
                "group_wait": wait,
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
        """Report firing alerts with these labels, as Prometheus does."""
        body = json.dumps([{"labels": labels} for labels in alerts]).encode()
        request = urllib.request.Request(
            f"{self.url}/api/v2/alerts", body, {"Content-Type": "application/json"}
        )
        with urllib.request.urlopen(request, timeout=10) as response:
            assert response.status == 200

    def state_of(self, alert: str, **labels: str) -> str | None:
        """Return ``active``, ``suppressed`` or ``unprocessed``, or ``None`` if there is no such alert."""
        wanted = {"alertname": alert, **labels}.items()
        for known in get(f"{self.url}/api/v2/alerts"):
            if wanted <= known["labels"].items():
                return str(known["status"]["state"])
        return None


class Prometheus(Child):
    """Scrapes at the ``scrape`` interval and evaluates every second; targets can be added and removed."""

    def __init__(
        self, folder: Path, rules: Mapping[str, str], alertmanager: Alertmanager, scrape: str = "1s"
    ) -> None:
        self.url = f"http://{HOST}:{free_port()}"
        self._targets = folder / "targets.json"
        self._known: dict[str, str] = {}  # address: job
        self._lock = threading.Lock()
        self._write_targets()
        for name, text in rules.items():
            (folder / name).write_text(text)
        config = {
            "global": {"scrape_interval": scrape, "scrape_timeout": scrape, "evaluation_interval": "1s"},
            "rule_files": [str(folder / name) for name in rules],
            "scrape_configs": [{"job_name": JOB, "file_sd_configs": [{"files": [str(self._targets)]}]}],
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
            # Alertmanager considers an alert resolved if it is not sent again within four times this.
            "--rules.alert.resend-delay=5s",
        ]
        super().__init__("prometheus", command, folder)
        self.wait_until_it_answers(f"{self.url}/-/ready")

    def scrape(self, port: int, job: str = JOB) -> None:
        """Start scraping a manager's port."""
        with self._lock:
            self._known[f"{HOST}:{port}"] = job
            self._write_targets()

    def forget(self, port: int) -> None:
        """Stop scraping a manager's port."""
        with self._lock:
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
        """Return the exemplars of the series in an expression."""
        found = get(f"{self.url}/api/v1/query_exemplars", query=expression, start=start, end=end)
        return found["data"]  # type: ignore[no-any-return]

    def metadata(self) -> dict[str, Any]:
        """Return the metric families of the last scrapes, by name."""
        return get(f"{self.url}/api/v1/metadata")["data"]  # type: ignore[no-any-return]

    def _write_targets(self) -> None:
        # Renamed into place, so that Prometheus never reads an incomplete file.
        new = self._targets.with_suffix(".new")
        groups = [
            {"targets": [address], "labels": {"job": job}} for address, job in sorted(self._known.items())
        ]
        new.write_text(json.dumps(groups))
        new.replace(self._targets)
