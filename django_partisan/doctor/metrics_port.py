"""Does the manager's port answer with our metrics, and is the manager ready?"""

import re
import ssl
import urllib.error
import urllib.request
from collections.abc import Iterator
from pathlib import Path
from typing import Final, NamedTuple

from django_partisan import __version__
from django_partisan.config import observability
from django_partisan.doctor.finding import ERROR, FINE, SKIPPED, WARNING, Finding
from django_partisan.doctor.subject import Subject

NAME: Final = "metrics"
TIMEOUT_SECONDS: Final = 5.0
_ANY_ADDRESS: Final = {"0.0.0.0": "127.0.0.1", "::": "[::1]"}
_VERSION: Final = re.compile(r'^partisan_build_info\{.*?version="([^"]*)"', re.MULTILINE)


class Answer(NamedTuple):
    """What came back from the port."""

    status: int
    body: str


def look(subject: Subject) -> Iterator[Finding]:
    """Scrape once, and ask whether the manager is ready."""
    url = subject.metrics_url or _configured(subject.queue)
    if url is None:
        yield Finding(
            NAME,
            SKIPPED,
            f"METRICS_PORT names no port for the queue {subject.queue!r}.",
            "Set it, or start the manager with --metrics-port and give --metrics-url here.",
        )
        return
    try:
        scrape = _get(f"{url}/metrics", subject)
        ready = _get(f"{url}/ready", subject)
    except OSError as error:
        reason = getattr(error, "reason", error)
        yield Finding(
            NAME, WARNING, f"Nobody answers at {url}: {reason}.", "Start the manager, or correct the address."
        )
        return
    yield _judge_scrape(url, scrape)
    yield _judge_readiness(ready)


def _configured(queue: str) -> str | None:
    port = observability.metrics_port(queue)
    if not port:  # 0 is any free one, which only the log knows
        return None
    host = observability.value("METRICS_HOST")
    return f"http://{_ANY_ADDRESS.get(host, host)}:{port}"


def _get(url: str, subject: Subject) -> Answer:
    request = urllib.request.Request(url)
    token_file = subject.metrics_token_file or observability.value("METRICS_TOKEN_FILE")
    if token_file:
        request.add_header("Authorization", f"Bearer {Path(token_file).read_text().strip()}")
    tls = ssl.create_default_context(cafile=subject.metrics_ca) if url.startswith("https:") else None
    try:
        with urllib.request.urlopen(request, timeout=TIMEOUT_SECONDS, context=tls) as response:
            return Answer(response.status, response.read().decode())
    except urllib.error.HTTPError as error:
        with error:
            return Answer(error.code, error.read().decode(errors="replace"))


def _judge_scrape(url: str, answer: Answer) -> Finding:
    if answer.status == 401:
        return Finding(
            NAME, ERROR, f"{url} demands another token.", "Give its file with --metrics-token-file."
        )
    version = _VERSION.search(answer.body)
    if answer.status != 200 or version is None:
        return Finding(
            NAME,
            ERROR,
            f"{url}/metrics answers {answer.status}, and not with metrics of django-partisan.",
            "Correct the address, or end what uses the port.",
        )
    if version[1] != __version__:
        return Finding(
            NAME,
            WARNING,
            f"The manager at {url} runs version {version[1]}; {__version__} is installed here.",
            "Restart the manager.",
        )
    return Finding(NAME, FINE, f"{url}/metrics answers, version {__version__}.")


def _judge_readiness(answer: Answer) -> Finding:
    if answer.status == 200:
        return Finding(NAME, FINE, "The manager is ready.")
    reasons = "; ".join(answer.body.split("\n")).strip("; ")
    return Finding(NAME, WARNING, f"The manager is not ready: {reasons}.", "See docs/runbooks.md.")
