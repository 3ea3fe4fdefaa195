"""Which installation is examined."""

from pathlib import Path
from typing import NamedTuple


class Subject(NamedTuple):
    """One queue of this project, and the options of its manager; ``None`` is not given."""

    queue: str
    metrics_url: str | None = None
    metrics_ca: str | None = None
    metrics_token_file: str | None = None
    log_format: str = "auto"
    log_file: str | None = None
    rules: Path | None = None
