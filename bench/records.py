"""Read the records that task bodies write."""

from dataclasses import dataclass
from pathlib import Path

from bench.recorder import LATENCY, SLOT


@dataclass(frozen=True)
class Progress:
    """How many bodies ran in how many processes, and when the first and the last of them started."""

    count: int
    processes: int
    first: float
    last: float

    @property
    def rate(self) -> float:
        """Bodies per second, from the first to the last."""
        return (self.count - 1) / max(1e-6, self.last - self.first)


class Records:
    """A folder of records."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    def clear(self, tasks: int = 0) -> None:
        """Delete all records and expect `tasks` numbered tasks."""
        self.folder.mkdir(exist_ok=True)
        for path in self.folder.iterdir():
            path.unlink()
        if tasks:
            (self.folder / "seen").write_bytes(bytes(tasks))

    def progress(self) -> Progress:
        """Read the slots of all processes, which may still be working."""
        slots = [
            SLOT.unpack(data)
            for path in self.folder.glob("*.slot")
            if len(data := path.read_bytes()) == SLOT.size
        ]
        slots = [slot for slot in slots if slot[0]]
        if not slots:
            return Progress(0, 0, 0.0, 0.0)
        counts, firsts, lasts = zip(*slots, strict=True)
        return Progress(int(sum(counts)), len(slots), min(firsts), max(lasts))

    def runs(self) -> tuple[int, int]:
        """Return how many numbered tasks ran, and how many runs were repeated ones."""
        seen = (self.folder / "seen").read_bytes()
        ran = len(seen) - seen.count(0)
        return ran, sum(seen) - ran

    def starts(self) -> dict[int, float]:
        """Return when each latency task first started."""
        found: dict[int, float] = {}
        for path in self.folder.glob("*.latency"):
            data = path.read_bytes()
            whole = len(data) // LATENCY.size * LATENCY.size
            for task, started in LATENCY.iter_unpack(data[:whole]):
                found[int(task)] = min(started, found.get(int(task), started))
        return found
