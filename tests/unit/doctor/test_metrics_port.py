"""Whether the manager's port answers, with which content, and whether the manager is ready."""

import ssl
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

import pytest
from django.test import override_settings

from django_partisan import __version__
from django_partisan.doctor import metrics_port
from django_partisan.doctor.finding import ERROR, FINE, SKIPPED, WARNING, Finding

OURS = f'partisan_build_info{{django="5.2",version="{__version__}"}} 1.0\n'


class Port:
    """A server that gives the test's answers."""

    def __init__(self) -> None:
        self.metrics = (200, f"# HELP x\n{OURS}")
        self.ready = (200, "ready\n")
        self.token: str | None = None
        port = self

        class Handler(BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                status, body = port.metrics if self.path == "/metrics" else port.ready
                if port.token is not None and self.headers["Authorization"] != f"Bearer {port.token}":
                    status, body = 401, "no"
                self.send_response(status)
                self.end_headers()
                self.wfile.write(body.encode())

            def log_message(self, *_: Any) -> None:
                """Log nothing."""

        self.server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.number = self.server.server_port
        self.url = f"http://127.0.0.1:{self.number}"
        threading.Thread(target=self.server.serve_forever, args=(0.02,), daemon=True).start()


@pytest.fixture
def port() -> Iterator[Port]:
    made = Port()
    yield made
    made.server.shutdown()
    made.server.server_close()


@pytest.fixture
def check(subject, port):
    """Return a function that returns the findings for the port, or for other options."""

    def check(**options: Any) -> list[Finding]:
        return list(metrics_port.check(subject._replace(**{"metrics_url": port.url} | options)))

    return check


def statuses(findings: list[Finding]) -> list[str]:
    return [finding.status for finding in findings]


@pytest.mark.parametrize("configured", [None, 0])
def test_without_a_known_port_nobody_is_asked(check, configured):
    with override_settings(PARTISAN_OBSERVABILITY={"METRICS_PORT": configured}):
        assert statuses(check(metrics_url=None)) == [SKIPPED]


@pytest.mark.parametrize("host", ["127.0.0.1", "0.0.0.0"])
def test_the_configured_port_is_asked(check, port, host):
    with override_settings(PARTISAN_OBSERVABILITY={"METRICS_PORT": port.number, "METRICS_HOST": host}):
        assert statuses(check(metrics_url=None)) == [FINE, FINE]


@pytest.mark.parametrize("ending", ["", "/"])
def test_the_given_address_wins(check, port, ending):
    with override_settings(PARTISAN_OBSERVABILITY={"METRICS_PORT": 1}):
        assert statuses(check(metrics_url=port.url + ending)) == [FINE, FINE]


def test_a_refused_connection_is_a_warning(check, port):
    port.server.shutdown()
    port.server.server_close()

    [finding] = check()

    assert finding.status == WARNING
    assert "refused" in finding.message


def test_a_manager_that_is_not_ready_says_why(check, port):
    port.ready = (503, "the database is not reachable\nthe manager is draining\n")

    _, finding = check()

    assert finding.status == WARNING
    assert (
        finding.message == "The manager is not ready: the database is not reachable; the manager is draining."
    )


@pytest.mark.parametrize(
    ("answer", "status", "said"),
    [
        ((200, OURS.replace(__version__, "1.9")), WARNING, "runs version 1.9"),
        ((200, "up 1\n"), ERROR, "answers with status 200, without metrics"),
        ((404, "no"), ERROR, "answers with status 404"),
        ((500, OURS), ERROR, "answers with status 500"),
        ((401, "no"), ERROR, "requires a valid token"),
    ],
)
def test_another_answer_than_the_managers_is_named(check, port, answer, status, said):
    port.metrics = answer

    finding, _ = check()

    assert finding.status == status
    assert said in finding.message


def test_a_token_is_taken_from_its_file(check, port, tmp_path):
    port.token = "let-me-in"
    file = tmp_path / "token"
    file.write_text("let-me-in\n")

    assert statuses(check(metrics_token_file=str(file))) == [FINE, FINE]
    with override_settings(PARTISAN_OBSERVABILITY={"METRICS_TOKEN_FILE": str(file)}):
        assert statuses(check()) == [FINE, FINE]


def test_a_port_over_tls_is_asked_with_its_ca(check, port, monkeypatch):
    asked: list[Any] = []

    def context(cafile: str | None) -> ssl.SSLContext:
        asked.append(cafile)
        return ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)

    monkeypatch.setattr(ssl, "create_default_context", context)

    [finding] = check(metrics_url=port.url.replace("http:", "https:"), metrics_ca="ca.pem")

    assert finding.status == WARNING  # the port does not speak TLS
    assert asked == ["ca.pem"]
