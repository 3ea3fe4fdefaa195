"""Read a manager's metrics as Prometheus does, and compare scrapes."""

import time
import urllib.error
import urllib.request
from functools import partial
from typing import Any, NamedTuple
from weakref import WeakKeyDictionary

from prometheus_client.openmetrics import parser
from prometheus_client.samples import Exemplar

from tests.processes.managing import ManagerProcess
from tests.support.waiting import wait_until

OPENMETRICS = "application/openmetrics-text; version=1.0.0"
TEXT = "text/plain; version=0.0.4"
GROWING = ("_total", "_bucket", "_count", "_sum")

wait_for_scrape = partial(wait_until, every=0.1)
"""Wait with longer pauses: parsing a scrape takes longer than most of the conditions awaited."""

_addresses: WeakKeyDictionary[ManagerProcess, str] = WeakKeyDictionary()
"""Cached, because the log that contains the address may be long."""

Key = tuple[str, frozenset[tuple[str, str]]]


class Answer(NamedTuple):
    """The answer of an HTTP server, and how long it took."""

    status: int
    content_type: str
    body: str
    seconds: float


class Scrape:
    """The series of one scrape, by name and labels."""

    def __init__(self, text: str) -> None:
        self.text = text
        self.families = {family.name: family for family in parser.text_string_to_metric_families(text)}
        self.values: dict[Key, float] = {}
        self.exemplars: dict[Key, Exemplar] = {}
        for family in self.families.values():
            for sample in family.samples:
                key = sample.name, frozenset(sample.labels.items())
                self.values[key] = sample.value
                if sample.exemplar is not None:
                    self.exemplars[key] = sample.exemplar

    def series(self, name: str, **labels: str) -> dict[frozenset[tuple[str, str]], float]:
        """Return the series of a name that match these labels."""
        return {
            key[1]: value for key, value in self.values.items() if key[0] == name and labels.items() <= key[1]
        }

    def sum(self, name: str, **labels: str) -> float:
        """Return the sum of the series of a name that match these labels."""
        return sum(self.series(name, **labels).values())

    def by(self, label: str, name: str, **labels: str) -> dict[str, float]:
        """Return the sums of a name by the values of a label, without sums of 0."""
        found: dict[str, float] = {}
        for names, value in self.series(name, **labels).items():
            found[dict(names)[label]] = found.get(dict(names)[label], 0) + value
        return {key: value for key, value in found.items() if value}


def growing(text: str) -> dict[str, float]:
    """Return the cumulative series of a scrape in the text format; fast, because it is called often."""
    found = {}
    for line in text.splitlines():
        if not line.startswith("#"):
            series, _, value = line.rpartition(" ")
            if series.partition("{")[0].endswith(GROWING):
                found[series] = float(value)
    return found


def address_of(manager: ManagerProcess) -> str:
    """Return the address of a manager's metrics server."""
    if manager not in _addresses:
        [started] = manager.wait_for("manager.started")
        _addresses[manager] = started["partisan.manager.metrics_address"].removesuffix("/metrics")
    return _addresses[manager]


def get(address: str, path: str = "/metrics", accept: str = OPENMETRICS, timeout: float = 10.0) -> Answer:
    """Return the answer for a path, whatever its status."""
    request = urllib.request.Request(address + path, headers={"Accept": accept})
    started = time.monotonic()
    try:
        response = urllib.request.urlopen(request, timeout=timeout)
    except urllib.error.HTTPError as error:
        response = error
    with response:
        body = response.read().decode()
        content_type = response.headers.get("Content-Type", "")
        return Answer(response.status, content_type, body, time.monotonic() - started)


def scrape(manager: ManagerProcess) -> Scrape:
    """Return the metrics that a manager exports now."""
    answer = get(address_of(manager))
    assert answer.status == 200, answer.body
    return Scrape(answer.body)


def scrape_until(manager: ManagerProcess, name: str, value: float, **labels: str) -> Scrape:
    """Scrape until the sum of the series of a name is at least ``value``."""

    def seen() -> Scrape | None:
        found = scrape(manager)
        return found if found.sum(name, **labels) >= value else None

    found: Any = wait_for_scrape(seen, what=f"{name} {labels} is at least {value}")
    return found  # type: ignore[no-any-return]
