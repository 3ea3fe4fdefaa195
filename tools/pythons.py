"""The oldest and the newest supported Django, the Pythons for them, and which of these are installed."""

import os
import shutil
import subprocess
from typing import Final

OLDEST_DJANGO: Final = "5.2"
ITS_PYTHONS: Final = ("3.10", "3.11")
NEWEST_DJANGO: Final = "6.1"
NEWEST_PYTHONS: Final = ("3.13", "3.12")
"""The preferred one first, as in ``ITS_PYTHONS``: the oldest with the oldest, the newest with the newest."""


def wake_pyenv() -> None:
    """Let pyenv's shims, which answer only for the versions that are named, answer for all installed ones."""
    if "PYENV_VERSION" not in os.environ and shutil.which("pyenv"):
        versions = subprocess.run(["pyenv", "versions", "--bare"], capture_output=True, text=True, check=True)
        os.environ["PYENV_VERSION"] = ":".join(versions.stdout.split())


def runs(python: str) -> bool:
    """Return whether an interpreter of this version answers; a name on the PATH may be a dead shim."""
    program = shutil.which(f"python{python}")
    return program is not None and not subprocess.run([program, "-c", ""], capture_output=True).returncode
