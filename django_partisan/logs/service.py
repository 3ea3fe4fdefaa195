"""Which service this process is a part of, as OpenTelemetry's environment variables say."""

import os
from collections.abc import Mapping
from urllib.parse import unquote

from django_partisan.telemetry.redaction import cut

NAME_MAX_BYTES = 256

_FIELD_OF = {
    "service.name": "service.name",
    "service.version": "service.version",
    "deployment.environment": "service.environment",
    "deployment.environment.name": "service.environment",
    "service.instance.id": "service.node.name",
}
"""ECS fields by resource attribute; of two for one field the later here wins."""


def service_fields(environ: Mapping[str, str] = os.environ) -> dict[str, str]:
    """Return ``service.*`` from ``OTEL_RESOURCE_ATTRIBUTES`` and, which wins, ``OTEL_SERVICE_NAME``.

    Source: OpenTelemetry's resource SDK specification; what is malformed is ignored.
    """
    attributes = {}
    for pair in environ.get("OTEL_RESOURCE_ATTRIBUTES", "").split(","):
        key, equals, value = pair.partition("=")
        if equals:
            attributes[unquote(key.strip())] = unquote(value.strip())
    if environ.get("OTEL_SERVICE_NAME"):
        attributes["service.name"] = environ["OTEL_SERVICE_NAME"]
    return {
        field: cut(attributes[attribute], NAME_MAX_BYTES)
        for attribute, field in _FIELD_OF.items()
        if attributes.get(attribute)
    }
