"""The measured variants of django-partisan. `partisan2/peer.json` lists them, the environment selects one."""

import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

ADAPTER = Path(__file__).with_name("partisan2")
PREFIX = "PARTISAN_BENCH_"


@dataclass(frozen=True)
class Variant:
    """A configuration of django-partisan; sizes of `None` are the library's defaults."""

    name: str = "tuned"
    min_queue_size: int | None = None
    max_queue_size: int | None = None
    workers: int = 2
    delete: bool = False
    unique: bool = False
    metrics: bool = False
    full: bool = False
    driver: str = "psycopg2"

    @classmethod
    def from_environment(cls, environ: Mapping[str, str]) -> "Variant":
        """Return the variant that the runner chose for this process."""

        def size(name: str) -> int | None:
            text = environ.get(PREFIX + name)
            return int(text) if text else None

        return cls(
            name=environ.get(PREFIX + "VARIANT", "unnamed"),
            min_queue_size=size("MIN"),
            max_queue_size=size("MAX"),
            workers=size("WORKERS") or 2,
            delete=bool(environ.get(PREFIX + "DELETE")),
            unique=bool(environ.get(PREFIX + "UNIQUE")),
            metrics=bool(environ.get(PREFIX + "METRICS")),
            full=bool(environ.get(PREFIX + "FULL")),
            driver=environ.get(PREFIX + "DRIVER", "psycopg2"),
        )

    def queue_settings(self) -> dict[str, Any]:
        """Return the queue settings of this variant. All others keep the library's defaults."""
        chosen: dict[str, Any] = {"WORKERS_COUNT": self.workers}
        if self.min_queue_size is not None:
            chosen["MIN_QUEUE_SIZE"] = self.min_queue_size
        if self.max_queue_size is not None:
            chosen["MAX_QUEUE_SIZE"] = self.max_queue_size
        if self.delete:
            chosen["DELETE_TASKS_ON_COMPLETE"] = True
        return chosen


def environments() -> dict[str, dict[str, str]]:
    """Return the environment variables of each variant, by name."""
    listed = json.loads((ADAPTER / "peer.json").read_text())["variants"]
    return {name: dict(entry.get("env", {})) for name, entry in listed.items()}


def notes() -> dict[str, str]:
    """Return a description of each variant, by name."""
    listed = json.loads((ADAPTER / "peer.json").read_text())["variants"]
    return {name: entry["note"] for name, entry in listed.items()}
