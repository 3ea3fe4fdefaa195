"""Choose the format of a scrape's response by the client's ``Accept`` header.

prometheus-client's own choice puts the requested version into the content type, whatever version it writes.
Prometheus 3 also asks for OpenMetrics 2.0, and would reject 1.0 under that content type.
"""

from collections.abc import Callable
from typing import Final

from prometheus_client import exposition
from prometheus_client.openmetrics import exposition as openmetrics
from prometheus_client.registry import Collector

PLAIN: Final = "text/plain; version=0.0.4; charset=utf-8"
WRITTEN: Final = {
    "application/openmetrics-text": ("", "1.0.0"),
    "text/plain": ("", "0.0.4", "1.0.0"),
}
"""The versions of each format that prometheus-client writes; an empty string means no requested version."""


def encoder(accept: str) -> tuple[Callable[[Collector], bytes], str]:
    """Return the function that writes the first supported format in ``accept``, and its content type."""
    media = next((one for one in map(_written, accept.split(",")) if one), None)
    if media == "application/openmetrics-text":
        return openmetrics.generate_latest, openmetrics.CONTENT_TYPE_LATEST
    return exposition.generate_latest, PLAIN


def _written(offer: str) -> str | None:
    """Return the media type of an offer in a version that is written here, else ``None``."""
    media, *parameters = (part.strip() for part in offer.split(";"))
    versions = (value for name, _, value in (one.partition("=") for one in parameters) if name == "version")
    return media if next(versions, "") in WRITTEN.get(media, ()) else None
