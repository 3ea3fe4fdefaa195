"""The list of parts. A new part needs a module of this package and an entry here."""

from typing import Final

from .go_programs import FILEBEAT, JAEGER, OTELCOL, PROMETHEUS
from .opensearch import OPENSEARCH
from .part import Part

PARTS: Final[tuple[Part, ...]] = (OPENSEARCH, FILEBEAT, OTELCOL, JAEGER, PROMETHEUS)


class UnknownPart(Exception):
    """A name is not the name of a part; the message lists the parts."""


def chosen(names: list[str]) -> list[Part]:
    """Return the named parts: all for ``all``, and those that are quick to fetch if there are no names."""
    if not names:
        return [part for part in PARTS if part.by_default]
    if names == ["all"]:
        return list(PARTS)
    by_name = {part.name: part for part in PARTS}
    for name in names:
        if name not in by_name:
            raise UnknownPart(f"PARTS has {name!r}; expected all, or names of {', '.join(by_name)}")
    return [by_name[name] for name in names]
