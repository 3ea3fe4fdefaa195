"""The description of a part."""

import shutil
from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple


class Need(NamedTuple):
    """A program that is required to fetch a part, and how to install it."""

    program: str
    remedy: str

    @property
    def is_there(self) -> bool:
        """Whether the program is on the PATH."""
        return shutil.which(self.program) is not None


class Part(NamedTuple):
    """A program that tests run if it was fetched.

    ``fetch`` fills an empty folder, which must then contain ``program``. Each version has its own folder.
    Parts that take minutes to build are not ``by_default``.
    """

    name: str
    version: str
    program: str
    needs: tuple[Need, ...]
    fetch: Callable[[Path], None]
    by_default: bool = False

    @property
    def missing_needs(self) -> list[Need]:
        """The programs that must be installed before the part can be fetched."""
        return [need for need in self.needs if not need.is_there]
