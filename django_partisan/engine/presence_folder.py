"""The folder for a user's presence files, which contains one file per manager process."""

import os
import stat
import tempfile
from collections.abc import Iterator
from pathlib import Path
from uuid import UUID

from django_partisan.exceptions import CannotStart


def path_of(name: UUID) -> Path:
    """Return the path of a file; raises ``CannotStart`` if the folder cannot be used."""
    return _folder() / f"{name}.lock"


def all_paths() -> Iterator[Path]:
    """Return the paths of this user's files; raises ``CannotStart`` if the folder cannot be used."""
    return _folder().glob("*.lock")


def _folder() -> Path:
    try:
        folder = Path(tempfile.gettempdir()) / f"django-partisan-{os.getuid()}"
        folder.mkdir(mode=0o700, exist_ok=True)
        status = folder.lstat()
    except OSError as error:
        raise CannotStart(
            f"The folder for the presence file cannot be created: {error}. "
            "Set TMPDIR to a folder that this user can write to."
        ) from error
    if not stat.S_ISDIR(status.st_mode) or status.st_uid != os.getuid() or status.st_mode & 0o077:
        raise CannotStart(
            f"{folder} must be a folder that only this user can access. Remove it, or set TMPDIR."
        )
    return folder
