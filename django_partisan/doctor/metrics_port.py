"""Check that the manager's port serves the library's metrics, and that the manager is ready."""

import re
import ssl
import urllib.error
import urllib.request
from collections.abc import Iterator
from pathlib import Path
from typing import Final

from django_partisan import __version__
from django_partisan.config import observability
from django_partisan.doctor.finding import ERROR, FINE, SKIPPED, WARNING, Finding, Subject

TIMEOUT_SECONDS: Final = 5.0
_ANY_ADDRESS: Final = {"0.0.0.0": "127.0.0.1", "::": "[::1]"}
_VERSION: Final = re.compile(r'^partisan_build_info\{.*?version="([^"]*)"', re.MULTILINE)


def check(subject: Subject) -> Iterator[Finding]:
    """Scrape once, and request the manager's readiness."""
    url = (subject.metrics_url or _configured(subject.queue)).rstrip("/")
    if not url:
        yield Finding(
            SKIPPED,
            f"METRICS_PORT has no port for the queue {subject.queue!r}.",
            "Set it, or start the manager with --metrics-port and pass --metrics-url to this command.",
        )
        return
    try:
        scrape, ready = _get(f"{url}/metrics", subject), _get(f"{url}/ready", subject)
    except OSError as error:
        reason = getattr(error, "reason", error)
        yield Finding(
            WARNING, f"No answer from {url}: {reason}.", "Start the manager, or correct the address."
        )
        return
    yield _judge_scrape(url, *scrape)
    yield _judge_readiness(*ready)


def _configured(queue: str) -> str:
    port = observability.metrics_port(queue)
    host = observability.value("METRICS_HOST")
    # 0 means any free port; only the log has its number.
    return f"http://{_ANY_ADDRESS.get(host, host)}:{port}" if port else ""


def _get(url: str, subject: Subject) -> tuple[int, str]:
    """Return the status and the body of a response; raise ``OSError`` if there is none."""
    request = urllib.request.Request(url)
    token_file = subject.metrics_token_file or observability.value("METRICS_TOKEN_FILE")
    if token_file:
        request.add_header("Authorization", f"Bearer {Path(token_file).read_text().strip()}")
    tls = ssl.create_default_context(cafile=subject.metrics_ca) if url.startswith("https:") else None
    try:
        with urllib.request.urlopen(request, timeout=TIMEOUT_SECONDS, context=tls) as response:
            return response.status, response.read().decode()
    except urllib.error.HTTPError as error:
        with error:
            return error.code, error.read().decode(errors="replace")


def _judge_scrape(url: str, status: int, body: str) -> Finding:
    version = _VERSION.search(body)
    if status == 401:
        return Finding(ERROR, f"{url} requires a valid token.", "Pass its file with --metrics-token-file.")
    if status != 200 or version is None:
        return Finding(
            ERROR,
            f"{url}/metrics answers with status {status}, without metrics of django-partisan.",
            "Correct the address, or stop the program that uses the port.",
        )
    if version[1] != __version__:
        message = f"The manager at {url} runs version {version[1]}; {__version__} is installed here."
        return Finding(WARNING, message, "Restart the manager.")
    return Finding(FINE, f"{url}/metrics answers, version {__version__}.")


def _judge_readiness(status: int, body: str) -> Finding:
    if status == 200:
        return Finding(FINE, "The manager is ready.")
    reasons = "; ".join(body.split("\n")).strip("; ")
    return Finding(WARNING, f"The manager is not ready: {reasons}.", "See docs/runbooks.md.")
