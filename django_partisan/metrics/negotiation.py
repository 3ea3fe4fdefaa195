"""Choose the format of a scrape's response by the client's ``Accept`` header.

prometheus-client puts the requested version into the content type, whatever version it writes. Prometheus 3
also asks for OpenMetrics 2.0, and would reject 1.0 under that content type.
"""

from collections.abc import Callable
from typing import Final

from prometheus_client.exposition import choose_encoder
from prometheus_client.registry import Collector

WRITTEN: Final = {
    "application/openmetrics-text": ("", "1.0.0"),
    "text/plain": ("", "0.0.4", "1.0.0"),
}
"""The versions of each format that prometheus-client writes; an empty string means no requested version."""


def encoder(accept: str) -> tuple[Callable[[Collector], bytes], str]:
    """Return the function that writes the first supported format in ``accept``, and its content type."""
    return choose_encoder(",".join(filter(_is_written, accept.split(","))))


def _is_written(offer: str) -> bool:
    media, *parameters = (part.strip() for part in offer.split(";"))
    versions = (value for name, _, value in (one.partition("=") for one in parameters) if name == "version")
    return next(versions, "") in WRITTEN.get(media, ())
