"""The cache of parts: one folder per version, which is either complete or missing."""

import os
import shutil
import tempfile
from pathlib import Path
from typing import Final

from .part import Part

VARIABLE: Final = "PARTISAN_PARTS"


class PartMissing(AssertionError):
    """A part is missing or cannot be fetched; the message names the remedy."""


def cache_folder() -> Path:
    """Return the folder of all parts: PARTISAN_PARTS, or a folder in the user's cache."""
    if folder := os.environ.get(VARIABLE):
        return Path(folder).resolve()
    base = os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache"
    return Path(base) / "django-partisan" / "parts"


def folder_of(part: Part) -> Path:
    """Return the folder of a part, which exists if it was fetched."""
    return cache_folder() / f"{part.name}-{part.version}"


def find(part: Part) -> Path:
    """Return the path of a part's program; raise `PartMissing` if it was not fetched."""
    path = folder_of(part) / part.program
    if not path.exists():
        raise PartMissing(f"{part.name} {part.version} is missing: {_remedy(part)}")
    return path


def fetch(part: Part) -> bool:
    """Fetch a part unless it exists already; return whether it was fetched."""
    folder = folder_of(part)
    if (folder / part.program).exists():
        return False
    if part.missing_needs:
        raise PartMissing(f"{part.name} {part.version} cannot be fetched: {_remedy(part)}")
    folder.parent.mkdir(parents=True, exist_ok=True)
    # Rename the folder when it is complete, so that an interrupted download does not look like a part.
    half = Path(tempfile.mkdtemp(prefix=f".{folder.name}-", dir=folder.parent))
    try:
        part.fetch(half)
        if not (half / part.program).exists():
            raise PartMissing(f"{part.name} {part.version} was fetched, but does not contain {part.program}")
        half.chmod(0o755)
        try:
            half.rename(folder)
        except OSError:
            if not (folder / part.program).exists():  # else another run was faster
                raise
    finally:
        shutil.rmtree(half, ignore_errors=True)
    return True


def _remedy(part: Part) -> str:
    steps = [need.remedy for need in part.missing_needs]
    names = "" if part.by_default else f" PARTS={part.name}"
    return "; ".join([*steps, f"then run make parts{names}" if steps else f"run make parts{names}"])
