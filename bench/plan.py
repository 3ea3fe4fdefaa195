"""The plan of one invocation: scenarios, sizes, variants and repetitions."""

import importlib.util
import os
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from bench.scenarios import SCENARIOS, Options
from bench.variant import environments

SIZES: Mapping[str, Sequence[int]] = {
    "drain": (20_000, 200_000), "latency": (200,), "enqueue": (3_000,), "idle": (0,), "sleep": (2_000,),
}  # fmt: skip
VARIANTS: Mapping[str, Sequence[str]] = {
    "drain": ("tuned", "tuned_keep", "default", "metrics", "full", "psycopg3"),
    "latency": ("tuned", "full"),
    "enqueue": ("tuned", "unique", "psycopg3"),
    "idle": ("tuned",),
    "sleep": ("tuned",),
}
PSYCOPG3 = "PARTISAN_BENCH_PSYCOPG3"


@dataclass(frozen=True)
class Plan:
    """A plan. If `variants` is `None`, the most informative ones are chosen for each scenario."""

    scenarios: Sequence[str] = tuple(SCENARIOS)
    sizes: Sequence[int] | None = None
    variants: Sequence[str] | None = None
    repetitions: int = 3
    cap: float = 30.0
    retained: int = 0
    prune: int = 0
    ahead: int = 0
    held: bool = False
    managers: int = 1
    output: Path | None = None

    def steps(self) -> Iterator[tuple[str, Options, list[str]]]:
        """Yield the scenarios with their options and variants, in the order of the report."""
        for scenario in self.scenarios:
            sizes = (self.sizes or SIZES[scenario]) if scenario == "drain" else SIZES[scenario]
            for tasks in sizes:
                options = Options(
                    tasks, self.cap, self.retained, self.prune, self.ahead, self.held, self.managers
                )
                yield scenario, options, list(self.variants or _usable(VARIANTS[scenario]))

    def __str__(self) -> str:
        return (
            f"repetitions: {self.repetitions}, interleaved and shuffled; medians (minimum to maximum);"
            f" drains end {self.cap:.0f} s after the first task at the latest"
        )


def _usable(names: Sequence[str]) -> list[str]:
    return [name for name in names if not _wants_psycopg3(name) or has_psycopg3()]


def _wants_psycopg3(name: str) -> bool:
    return environments()[name].get("PARTISAN_BENCH_DRIVER") == "psycopg3"


def has_psycopg3() -> bool:
    """Return whether psycopg 3 is in the environment or in the folder of a variable."""
    folder = os.environ.get(PSYCOPG3)
    return importlib.util.find_spec("psycopg") is not None or bool(
        folder and (Path(folder) / "psycopg").is_dir()
    )
