"""Arrays as literals of PostgreSQL.

They cost less than lists: the driver would adapt each value, and PostgreSQL parse each as a constant.
"""

from collections.abc import Iterable


def array_of(elements: Iterable[object]) -> str:
    """Return the array of some numbers, or of what ``element()`` has returned."""
    return "{" + ",".join(map(str, elements)) + "}"


def element(value: object | None) -> str:
    """Return a value, such as a text, as an element of an array; ``None`` is ``NULL``."""
    if value is None:
        return "NULL"
    return '"' + str(value).replace("\\", "\\\\").replace('"', '\\"') + '"'
