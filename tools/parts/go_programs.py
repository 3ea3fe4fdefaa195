"""Parts that are built from Go modules. `go/NAME` in this package pins all modules of each.

A first build takes about ten minutes on one core; later ones are quick, because Go caches compiled packages.
"""

import os
import subprocess
from pathlib import Path
from typing import Final

from .part import Need, Part

MODULES: Final = Path(__file__).parent / "go"
GO: Final = Need("go", "install Go 1.26 or later (from go.dev, or a distribution's golang package)")


def _built(name: str, version: str, *packages: str, tags: str = "") -> Part:
    """Return the part that builds packages of the module ``go/NAME``, by default the module itself."""

    def fetch(folder: Path) -> None:
        command = ["go", "build", "-mod=readonly", f"-tags={tags}", "-o", f"{folder}{os.sep}"]
        subprocess.run([*command, *(packages or ".")], cwd=MODULES / name, check=True)

    return Part(name, version, program=name, needs=(GO,), fetch=fetch)


FILEBEAT: Final = _built("filebeat", "9.0.0-20241022")
OTELCOL: Final = _built("otelcol", "0.148.0")
JAEGER: Final = _built("jaeger", "1.76.0")
_PROMETHEUS: Final = "github.com/prometheus/prometheus/cmd"
# Without the web interface and without service discovery through cloud APIs.
PROMETHEUS: Final = _built(
    "prometheus",
    "3.16.0",
    f"{_PROMETHEUS}/prometheus",
    f"{_PROMETHEUS}/promtool",
    tags="netgo,remove_all_sd",
)
