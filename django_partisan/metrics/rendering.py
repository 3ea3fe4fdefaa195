"""From a registry to the bytes of a scrape, family by family."""

import gzip
import re
from collections.abc import Callable, Iterable
from typing import Final, NamedTuple

from prometheus_client import CollectorRegistry
from prometheus_client.exposition import choose_encoder
from prometheus_client.metrics_core import Metric as Family
from prometheus_client.registry import Collector

from django_partisan.metrics.collector import OnError

OPENMETRICS: Final = "application/openmetrics-text"
END: Final = b"# EOF\n"
GZIP_LEVEL: Final = 1

_REFUSED = re.compile(r"q\s*=\s*0(\.0*)?")


class Page(NamedTuple):
    """A scrape as it goes over the wire."""

    content_type: str
    encoding: str | None
    body: bytes


class _One:
    def __init__(self, family: Family) -> None:
        self._family = family

    def collect(self) -> Iterable[Family]:
        return (self._family,)


def render(
    registry: CollectorRegistry, accept: str, accept_encoding: str, names: list[str], on_error: OnError
) -> Page:
    """Return the scrape that suits the request's headers; ``names`` restrict it, if any are given."""
    encode, content_type = _encoder(accept)
    collected: Collector = registry.restricted_registry(names) if names else registry
    body = b"".join(_text(encode, family, on_error) for family in collected.collect())
    if content_type.startswith(OPENMETRICS):
        body += END
    if _takes_gzip(accept_encoding):
        return Page(content_type, "gzip", gzip.compress(body, GZIP_LEVEL))
    return Page(content_type, None, body)


def _encoder(accept: str) -> tuple[Callable[[Collector], bytes], str]:
    try:
        return choose_encoder(accept)
    except (TypeError, ValueError):  # a version that is no number
        return choose_encoder("")


def _text(encode: Callable[[Collector], bytes], family: Family, on_error: OnError) -> bytes:
    """Return one family's text; the family's head alone if its series cannot be written."""
    try:
        return encode(_One(family)).removesuffix(END)
    except Exception:
        on_error()
    family.samples = []
    return encode(_One(family)).removesuffix(END)


def _takes_gzip(accept_encoding: str) -> bool:
    for offer in accept_encoding.lower().split(","):
        coding, *parameters = (part.strip() for part in offer.split(";"))
        if coding in ("gzip", "*"):
            return not any(_REFUSED.fullmatch(parameter) for parameter in parameters)
    return False
