"""The figures that are compared with pgbench, which does the same work without a queue."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Final

FEW_TASKS: Final = 20_000


@dataclass(frozen=True)
class Comparison:
    """A figure of a scenario, and the case of pgbench that does the same work."""

    column: str
    """The figure's key."""
    argument: str
    """The argument of the harness that selects the case, and possibly others."""
    case: str
    """The name of the case in the results of the harness."""
    tasks_at_most: float = float("inf")


COMPARISONS: Final[Mapping[str, Sequence[Comparison]]] = {
    "drain": (
        Comparison("rate", "update+delete:2000", "update+delete n=2000 clients=2"),
        Comparison("rate", "update+delete:10", "update+delete n=10 clients=2", FEW_TASKS),
    ),
    "enqueue": (
        Comparison("one", "insert:1", "insert n=1 clients=1"),
        Comparison("bulk", "insert:1000", "insert n=1000 clients=1"),
    ),
}


def comparisons(scenario: str, tasks: int) -> Iterator[Comparison]:
    """Yield the comparisons of a scenario of this size."""
    for one in COMPARISONS.get(scenario, ()):
        if tasks <= one.tasks_at_most:
            yield one
