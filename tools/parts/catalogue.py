"""Every part; a new one is a module of this package and a line here."""

from typing import Final

from .go_programs import FILEBEAT, JAEGER, OTELCOL, PROMETHEUS
from .opensearch import OPENSEARCH
from .part import Part

PARTS: Final[tuple[Part, ...]] = (OPENSEARCH, FILEBEAT, OTELCOL, JAEGER, PROMETHEUS)


class UnknownPart(Exception):
    """No part has this name; the message lists the parts."""


def chosen(names: list[str]) -> list[Part]:
    """Return the named parts; ``all`` means every part, no name those that are quick to fetch."""
    if not names:
        return [part for part in PARTS if part.by_default]
    if names == ["all"]:
        return list(PARTS)
    by_name = {part.name: part for part in PARTS}
    for name in names:
        if name not in by_name:
            raise UnknownPart(f"PARTS has {name!r}; expected all, or names of {', '.join(by_name)}")
    return [by_name[name] for name in names]
