"""The ``PartisanBackend`` entries in Django's setting ``TASKS``."""

from collections.abc import Mapping
from typing import Any

from django.conf import settings
from django.utils.module_loading import import_string

from django_partisan.names import DEFAULT_QUEUE

MARK = "is_partisan_backend"
"""The attribute that identifies ``PartisanBackend``, which this module must not import when it is loaded."""


def partisan_backends() -> dict[str, Mapping[str, Any]]:
    """Return the settings of each backend that is a ``PartisanBackend``, by alias."""
    backends = getattr(settings, "TASKS", {})
    if not isinstance(backends, Mapping):
        return {}
    return {
        alias: params
        for alias, params in backends.items()
        if isinstance(params, Mapping) and _is_partisan_backend(params.get("BACKEND"))
    }


def queue_names() -> list[str]:
    """Return the queues of these backends; a backend without ``QUEUES`` has the queue ``default``."""
    return [
        name for params in partisan_backends().values() for name in params.get("QUEUES", (DEFAULT_QUEUE,))
    ]


def listed_queues() -> list[str]:
    """Return the queues that these backends list in ``QUEUES``."""
    return [name for params in partisan_backends().values() for name in params.get("QUEUES", ())]


def allow_every_queue() -> bool:
    """Return whether one of these backends has empty ``QUEUES``, so that Django accepts any queue name."""
    return any("QUEUES" in params and not params["QUEUES"] for params in partisan_backends().values())


def _is_partisan_backend(path: Any) -> bool:
    try:
        return bool(getattr(import_string(path), MARK, False))
    except (ImportError, AttributeError, TypeError):  # Django itself reports the error
        return False
