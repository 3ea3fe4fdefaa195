"""The Prometheus exporter of a manager: figures, probes and a page that links to them."""

import asyncio
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from html import escape
from typing import Final
from urllib.parse import parse_qs, urlsplit

from django_partisan import __version__, registry
from django_partisan.config import observability
from django_partisan.metrics import access, catalogue, custom, probes, series
from django_partisan.metrics.access import AnyPath
from django_partisan.metrics.collector import PartisanCollector, Scrapes, registry_of
from django_partisan.metrics.figures import Source
from django_partisan.metrics.manager import ManagerRecorder
from django_partisan.metrics.metric import Metric
from django_partisan.metrics.rendering import render
from django_partisan.metrics.sampler import Asked, Sampler
from django_partisan.metrics.server import BadRequest, Request, Response, Server, plain
from django_partisan.metrics.totals import Totals
from django_partisan.telemetry import bus
from django_partisan.telemetry.events import ErrorInfo, MetricsServerFailed, Snapshot

SCRAPES_AT_ONCE: Final = 4
PROBES_AT_ONCE: Final = 2
METHODS: Final = ("GET", "HEAD")

_INDEX = """<!DOCTYPE html>
<html lang="en">
<head><meta charset="utf-8"><title>django-partisan: {queue}</title></head>
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
    """Serve the metrics of one manager from ``start()`` to ``stop()``.

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
        source: Asked | None = None,
    ) -> None:
        """Prepare; ``source`` stands in for the database in tests."""
        self._queue = queue
        self._snapshot = snapshot
        self._place = (host, port)
        self._tls_files = (certfile, keyfile, client_ca)
        self._token_file = token_file
        self._token: access.Token | None = None
        self._server: Server | None = None
        self._readiness = probes.Readiness()
        processors = [name for name, definition in registry.definitions.items() if queue == definition.queue]
        metrics = {**catalogue.METRICS, **custom.declared(registry.definitions.values())}
        self.recorder = ManagerRecorder(queue, _totals(queue, metrics, processors), self._readiness)
        self._figures = _sampler(queue, source)
        scrapes = Scrapes(queue, processors, self.recorder, snapshot, self._figures)
        self.registry = registry_of(PartisanCollector(metrics, scrapes, _swallow), _swallow)

    def start(self) -> str:
        """Bind the port, begin to listen to events and to answer; return the address.

        Raises ``CannotServe`` (an ``OSError``) if the port, the TLS files or the token file cannot be used.
        """
        try:
            if self._token_file is not None:
                self._token = access.Token(self._token_file)
            tls = access.tls_context(*self._tls_files)
            listener = access.listen(*self._place)
        except access.CannotServe as error:
            bus.emit(MetricsServerFailed, self._queue, ErrorInfo.of(error))
            raise
        address = access.address_of(listener, secure=tls is not None)
        self._scrapes = ThreadPoolExecutor(SCRAPES_AT_ONCE, "partisan-scrape")
        self._probes = ThreadPoolExecutor(PROBES_AT_ONCE, "partisan-probe")
        self._server = Server(listener, self._answer, tls, _swallow)
        self._server.start()
        bus.subscribe(self.recorder)
        return address

    def stop(self) -> None:
        """Stop answering and listening; what was counted stays."""
        if self._server is None:
            return
        bus.unsubscribe(self.recorder)
        self._server.stop()
        self._server = None
        self._figures.stop()
        self._scrapes.shutdown(wait=False, cancel_futures=True)
        self._probes.shutdown(wait=False, cancel_futures=True)

    async def _answer(self, request: Request) -> Response:
        path, query = _split(request.target)
        pages = {"/": self._index, "/metrics": self._metrics, "/live": self._live, "/ready": self._ready}
        page = pages.get(path)
        if page is None:
            return plain(404, "There are /metrics, /live and /ready.")
        if request.method not in METHODS:
            return plain(405, "Only GET and HEAD are answered.", ("Allow", ", ".join(METHODS)))
        pool = self._scrapes if page == self._metrics else self._probes
        return await asyncio.get_running_loop().run_in_executor(pool, page, request, query)

    def _metrics(self, request: Request, query: str) -> Response:
        headers = request.headers
        if self._token is not None and not self._token.allows(headers.get("authorization", "")):
            return plain(401, "A bearer token is needed.", ("WWW-Authenticate", access.AUTHENTICATE))
        names = parse_qs(query).get("name[]", [])
        accepted = headers.get("accept", ""), headers.get("accept-encoding", "")
        content_type, encoding, body = render(self.registry, *accepted, names, _swallow)
        more = (("Content-Encoding", encoding),) if encoding else ()
        return Response(200, content_type, body, (*more, ("Vary", "Accept, Accept-Encoding")))

    def _live(self, request: Request, query: str) -> Response:
        stall = probes.stall(self._snapshot(), time.time())
        return plain(200, "live") if stall is None else plain(503, stall)

    def _ready(self, request: Request, query: str) -> Response:
        faults = self._readiness.faults(self._snapshot())
        return plain(503, "\n".join(faults)) if faults else plain(200, "ready")

    def _index(self, request: Request, query: str) -> Response:
        page = _INDEX.format(queue=escape(self._queue), version=escape(__version__))
        return Response(200, "text/html; charset=utf-8", page.encode())


def _split(target: str) -> tuple[str, str]:
    """Return path and query of a request's target, which may be a whole URL."""
    if target.startswith("/"):  # "//x" is a path here, though not in a URL
        path, _, query = target.partition("?")
        return path, query
    try:
        url = urlsplit(target)
    except ValueError:
        raise BadRequest(400) from None
    return url.path or "/", url.query


def _totals(queue: str, metrics: dict[str, Metric], processors: list[str]) -> Totals:
    value = observability.value
    totals = Totals(queue, metrics, value("METRICS_MAX_SERIES"), value("METRICS_MAX_ERROR_TYPES"))
    totals.start(series.of_queue(queue))
    totals.start(series.of_processors(queue, processors))
    totals.start(custom.series_of(queue, (registry.definitions[name] for name in processors)))
    return totals


def _sampler(queue: str, source: Asked | None) -> Sampler:
    value = observability.value
    timeout = value("METRICS_DB_TIMEOUT")
    return Sampler(
        queue,
        source or Source(queue, timeout),
        timeout,
        value("METRICS_DB_MIN_INTERVAL"),
        value("METRICS_DB_MAX_AGE"),
    )


def _swallow() -> None:
    bus.swallow("metrics")
