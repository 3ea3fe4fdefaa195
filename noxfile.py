"""The oldest and the newest supported pairs of Python and Django, with both drivers: `make matrix`."""

import os
import shutil
import subprocess

import nox

# A missing interpreter skips its sessions, and nox says so.
nox.options.error_on_missing_interpreters = False

PAIRS = [
    # Python, Django, PostgreSQL: the oldest with the oldest
    nox.param("3.10", "5.2", "16", id="python3.10-django5.2"),
    nox.param("3.11", "5.2", "18", id="python3.11-django5.2"),
    nox.param("3.12", "6.0", "18", id="python3.12-django6.0"),
    nox.param("3.13", "6.1", "18", id="python3.13-django6.1"),
]
DRIVERS = ["psycopg2", "psycopg"]


def _wake_pyenv() -> None:
    # pyenv's shims answer only for the versions that are named: name all that are installed.
    if "PYENV_VERSION" not in os.environ and shutil.which("pyenv"):
        versions = subprocess.run(["pyenv", "versions", "--bare"], capture_output=True, text=True, check=True)
        os.environ["PYENV_VERSION"] = ":".join(versions.stdout.split())


_wake_pyenv()


@nox.session
@nox.parametrize("driver", DRIVERS)
@nox.parametrize("python,django,postgresql", PAIRS)
def tests(session: nox.Session, django: str, postgresql: str, driver: str) -> None:
    """Run every tier but the real parts on one combination."""
    session.install("-e", ".[dev]", f"Django=={django}.*")
    if driver == "psycopg":
        # psycopg2 stays, as for every user: Django prefers psycopg 3 where it finds it.
        session.install("psycopg[binary]>=3.2")
    session.run("pytest", "tests", "-n", "auto", *session.posargs, env={"PARTISAN_PG_MAJOR": postgresql})
