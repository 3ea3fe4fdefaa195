"""The Prometheus exporter of a manager: metrics, probes, and a page that links to them."""

import gzip
import ssl
import threading
import time
from collections.abc import Callable
from contextlib import ExitStack
from functools import partial
from html import escape
from typing import Final
from urllib.parse import parse_qs, urlsplit

from prometheus_client import CollectorRegistry
from prometheus_client.exposition import gzip_accepted

from django_partisan import __version__, registry
from django_partisan.config import observability
from django_partisan.metrics import access, catalogue, custom, negotiation, probes
from django_partisan.metrics.access import AnyPath
from django_partisan.metrics.aggregator import Aggregator
from django_partisan.metrics.collector import PartisanCollector
from django_partisan.metrics.metric import Metric
from django_partisan.metrics.port_holder import TITLE, queue_of_manager_at
from django_partisan.metrics.port_wait import PortWait
from django_partisan.metrics.recorder import ManagerRecorder
from django_partisan.metrics.sampler import Sampler
from django_partisan.metrics.server import Request, Response, Server, plain
from django_partisan.sql.queue_statistics import StatisticsQuery
from django_partisan.telemetry import bus, swallowed
from django_partisan.telemetry.events.snapshot import Snapshot
from django_partisan.telemetry.events.telemetry import MetricsPortTaken, MetricsServed, MetricsServerFailed
from django_partisan.telemetry.events.values import ErrorInfo

SCRAPES_AT_ONCE: Final = 4
"""How many scrapes are built at the same time; more would take CPU time from the manager's loop."""
METHODS: Final = ("GET", "HEAD")
GZIP_LEVEL: Final = 1
"""The fastest level, because compression takes CPU time from the manager's loop."""

_INDEX = """<!DOCTYPE html>
<html lang="en">
<head><meta charset="utf-8"><title>{title}</title></head>
<body>
<h1>django-partisan {version}, queue {queue}</h1>
<ul>
<li><a href="/metrics">Metrics</a></li>
<li><a href="/live">Live?</a></li>
<li><a href="/ready">Ready?</a></li>
</ul>
</body>
</html>
"""


class Exporter:
    """The server of one manager's metrics, from ``start()`` to ``stop()``.

    ``snapshot`` is called from other threads, once for each scrape and each probe.
    """

    def __init__(
        self,
        queue: str,
        snapshot: Callable[[], Snapshot],
        host: str,
        port: int,
        *,
        certfile: AnyPath | None = None,
        keyfile: AnyPath | None = None,
        client_ca: AnyPath | None = None,
        token_file: AnyPath | None = None,
        query: StatisticsQuery | None = None,
    ) -> None:
        """Prepare the exporter; ``query`` replaces the database in tests."""
        self._queue = queue
        self._snapshot = snapshot
        self._place = (host, port)
        self._tls_files = access.TlsFiles(certfile, keyfile, client_ca)
        self._token_file = token_file
        self._token: access.Token | None = None
        self._to_stop = ExitStack()
        self._building = threading.BoundedSemaphore(SCRAPES_AT_ONCE)
        self._readiness = probes.Readiness()
        metrics = {**catalogue.METRICS, **custom.declared(registry.definitions.values())}
        processors = [name for name, definition in registry.definitions.items() if queue == definition.queue]
        self.recorder = ManagerRecorder(queue, _aggregator(queue, metrics, processors))
        self._database = _sampler(queue, query)
        self._registry = CollectorRegistry()
        self._registry.register(
            PartisanCollector(metrics, processors, self.recorder, snapshot, self._database)
        )

    def start(self) -> str | None:
        """Bind the port, subscribe to events and start to answer; return the address.

        If another manager holds the port, as in a rolling restart, return ``None``: events are counted, and
        requests are answered as soon as the port is free. Raises ``CannotServe`` (an ``OSError``) if the
        port, the TLS files or the token file cannot be used.
        """
        try:
            if self._token_file is not None:
                self._token = access.Token(self._token_file)
            tls = access.tls_context(*self._tls_files)
            address = self._bind_or_wait(tls)
        except access.CannotServe as error:
            self._on_failed(error)
            raise
        for subscriber in (self.recorder, self._readiness):
            bus.subscribe(subscriber)
            self._to_stop.callback(bus.unsubscribe, subscriber)
        return address

    def _bind_or_wait(self, tls: ssl.SSLContext | None) -> str | None:
        try:
            return self._bind(tls)
        except access.PortInUse:
            holder = queue_of_manager_at(*self._place, self._tls_files)
            if holder is None:
                raise
            bus.emit(MetricsPortTaken, self._queue, self._place[1], holder)
            waiting = PortWait(partial(self._bind_at_last, tls), self._on_failed)
            self._to_stop.callback(waiting.stop)
            return None

    def _bind(self, tls: ssl.SSLContext | None) -> str:
        server = Server(self._place, self._answer, tls, partial(swallowed.swallow, "metrics"))
        server.start()
        url = server.url
        self._to_stop.callback(server.stop)  # only once started: ``stop()`` may run in the other thread
        return url

    def _bind_at_last(self, tls: ssl.SSLContext | None) -> None:
        bus.emit(MetricsServed, self._queue, self._bind(tls))

    def _on_failed(self, error: access.CannotServe) -> None:
        # Without a stack trace: the message names the remedy.
        bus.emit(
            MetricsServerFailed, self._queue, ErrorInfo.of(error)._replace(stack_trace="", exception=None)
        )

    def stop(self) -> None:
        """Stop answering and counting; totals are kept."""
        self._to_stop.close()
        self._database.stop()

    def _answer(self, request: Request) -> Response:
        try:
            url = urlsplit(request.target)
        except ValueError:
            return plain(400)
        pages: dict[str, Callable[[], Response]] = {
            "": self._index,
            "/": self._index,
            "/live": self._live,
            "/ready": self._ready,
            "/metrics": partial(self._metrics, request, url.query),
        }
        page = pages.get(url.path)
        if page is None:
            return plain(404, "Not found. Use /metrics, /live or /ready.")
        if request.method not in METHODS:
            return plain(405, "Only GET and HEAD are allowed.", ("Allow", ", ".join(METHODS)))
        return page()

    def _metrics(self, request: Request, query: str) -> Response:
        headers = request.headers
        if self._token is not None and not self._token.allows(headers.get("Authorization", "")):
            return plain(401, "A bearer token is required.", ("WWW-Authenticate", access.AUTHENTICATE))
        encode, content_type = negotiation.encoder(headers.get("Accept", ""))
        names = parse_qs(query).get("name[]")
        self._database.start_query()  # before it waits for its turn: simultaneous scrapes share a query
        with self._building:
            body = encode(self._registry.restricted_registry(names) if names else self._registry)
        more = [("Vary", "Accept, Accept-Encoding")]
        if gzip_accepted(headers.get("Accept-Encoding", "")):
            body = gzip.compress(body, GZIP_LEVEL)
            more.append(("Content-Encoding", "gzip"))
        return Response(200, content_type, body, tuple(more))

    def _live(self) -> Response:
        stall = probes.stall(self._snapshot(), time.time())
        return plain(200, "live") if stall is None else plain(503, stall)

    def _ready(self) -> Response:
        faults = self._readiness.faults(self._snapshot())
        return plain(503, "\n".join(faults)) if faults else plain(200, "ready")

    def _index(self) -> Response:
        title = escape(TITLE.format(queue=self._queue))
        page = _INDEX.format(title=title, queue=escape(self._queue), version=escape(__version__))
        return Response(200, "text/html; charset=utf-8", page.encode())


def _aggregator(queue: str, metrics: dict[str, Metric], processors: list[str]) -> Aggregator:
    aggregator = Aggregator(
        queue,
        metrics,
        max_series=observability.value("METRICS_MAX_SERIES"),
        max_error_types=observability.value("METRICS_MAX_ERROR_TYPES"),
    )
    for metric in catalogue.METRICS.values():
        aggregator.start_at_zero(catalogue.initial_series(metric, queue, processors))
    for name in processors:
        for metric in custom.declared([registry.definitions[name]]).values():
            aggregator.start_at_zero(metric.initial_series(queue, [name]))
    return aggregator


def _sampler(queue: str, query: StatisticsQuery | None) -> Sampler:
    timeout = observability.value("METRICS_DB_TIMEOUT")
    return Sampler(
        queue,
        query or StatisticsQuery(queue, timeout),
        timeout,
        min_interval=observability.value("METRICS_DB_MIN_INTERVAL"),
        max_age=observability.value("METRICS_DB_MAX_AGE"),
    )
