"""Build array literals for PostgreSQL.

They cost less than lists, for which the driver adapts each value and PostgreSQL parses it as a constant.
"""

from collections.abc import Iterable


def array_of(elements: Iterable[object]) -> str:
    """Return an array of numbers, or of strings returned by ``element()``."""
    return "{" + ",".join(map(str, elements)) + "}"


def element(value: object | None) -> str:
    """Return a value, such as a text, quoted as an element of an array; ``None`` becomes ``NULL``."""
    if value is None:
        return "NULL"
    return '"' + str(value).replace("\\", "\\\\").replace('"', '\\"') + '"'
