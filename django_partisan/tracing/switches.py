"""The settings of spans, as they are asked for on every run."""

from typing import Any

from django_partisan.config import observability


class Switches:
    """Look settings up when used; ``fixed`` looks up each but once, as in a worker they do not change."""

    def __init__(self, fixed: bool) -> None:
        self._fixed = fixed
        self._known: dict[str, Any] = {}

    def __getitem__(self, key: str) -> Any:
        known = self._known.get(key)
        if known is None:
            known = observability.value(key)
            if self._fixed:
                self._known[key] = known
        return known
