"""Which figures are compared with what pgbench does without a queue."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Final

FEW_TASKS: Final = 20_000


@dataclass(frozen=True)
class Comparison:
    """One figure of a scenario, and the case of pgbench that does the same work."""

    column: str
    """The figure's key."""
    argument: str
    """What selects the case on the command line of the harness; it may select others, too."""
    case: str
    """How the harness names the case in its results."""
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
    """Yield what a scenario of that size is compared with."""
    for one in COMPARISONS.get(scenario, ()):
        if tasks <= one.tasks_at_most:
            yield one
