"""In which format a scrape is answered, as the client's ``Accept`` header asks.

prometheus-client writes the version that it is asked for into the label of its answer, whatever it has
written: Prometheus 3 offers OpenMetrics 2.0, and would refuse 1.0 under that label.
"""

from collections.abc import Callable
from typing import Final

from prometheus_client.exposition import choose_encoder
from prometheus_client.registry import Collector

WRITTEN: Final = {
    "application/openmetrics-text": ("", "1.0.0"),
    "text/plain": ("", "0.0.4", "1.0.0"),
}
"""The versions of each format that prometheus-client writes; the empty one means that none is named."""


def encoder(accept: str) -> tuple[Callable[[Collector], bytes], str]:
    """Return the function that writes the first format in ``accept`` that it can, and its content type."""
    return choose_encoder(",".join(filter(_is_written, accept.split(","))))


def _is_written(offer: str) -> bool:
    media, *parameters = (part.strip() for part in offer.split(";"))
    versions = (value for name, _, value in (one.partition("=") for one in parameters) if name == "version")
    return next(versions, "") in WRITTEN.get(media, ())
