"""The oldest and the newest supported pairs of Python and Django, with both drivers: `make matrix`.

`make other-pair` runs the one pair that a gate adds to the environment it runs in.
"""

import sys
from pathlib import Path

import nox

# nox may run in an environment that does not have this checkout.
sys.path.insert(0, str(Path(__file__).parent))
from tools.pythons import ITS_PYTHONS, NEWEST_DJANGO, NEWEST_PYTHONS, OLDEST_DJANGO, runs, wake_pyenv

# A missing interpreter skips its sessions, and nox says so.
nox.options.sessions = ["tests"]
nox.options.error_on_missing_interpreters = False

PAIRS = [
    # Python, Django, PostgreSQL: the oldest with the oldest
    nox.param("3.10", "5.2", "16", id="python3.10-django5.2"),
    nox.param("3.11", "5.2", "18", id="python3.11-django5.2"),
    nox.param("3.12", "6.0", "18", id="python3.12-django6.0"),
    nox.param("3.13", "6.1", "18", id="python3.13-django6.1"),
]
DRIVERS = ["psycopg2", "psycopg"]

# The process tests of the other pair: a run's outcomes, order and waking, stopping, a lost database.
PROCESS_TESTS = [
    f"tests/processes/test_{name}.py" for name in ("outcomes", "order", "stopping", "database_outage")
]

# What differs between the versions of Django's task framework: both pairs must reach every line.
OF_DJANGOS_VERSIONS = ("django_partisan.backend", "django_partisan.functions")

wake_pyenv()

# nox runs in the environment of `make test`, where Python 3.12 and newer have the newest Django.
_THIS_PYTHON = "{}.{}".format(*sys.version_info)
_IS_NEW = sys.version_info >= (3, 12)
OTHER_DJANGO = OLDEST_DJANGO if _IS_NEW else NEWEST_DJANGO
# Not the oldest Python first: it lacks the library that makes the dashboards, and their tests are skipped.
OTHER_PYTHONS = ITS_PYTHONS[::-1] if _IS_NEW else NEWEST_PYTHONS
OTHER_PYTHON = next((python for python in OTHER_PYTHONS if python != _THIS_PYTHON and runs(python)), None)


@nox.session
@nox.parametrize("driver", DRIVERS)
@nox.parametrize("python,django,postgresql", PAIRS)
def tests(session: nox.Session, django: str, postgresql: str, driver: str) -> None:
    """Run every tier but the real parts on one combination."""
    _install(session, django, driver)
    session.run("pytest", "tests", "-n", "auto", *session.posargs, env={"PARTISAN_PG_MAJOR": postgresql})


@nox.session(python=OTHER_PYTHON or False, venv_backend=None if OTHER_PYTHON else "none")
def other_pair(session: nox.Session) -> None:
    """Run the unit and db tiers and some process tests on another Python and Django, with psycopg 3.

    Measure what the tests reach of the backend of Django's task framework, and require all of it.
    """
    if OTHER_PYTHON is None:
        wanted = " or ".join(OTHER_PYTHONS)
        session.skip(f"no Python {wanted} found besides {_THIS_PYTHON}: Django {OTHER_DJANGO} is not tested")
    _install(session, OTHER_DJANGO, "psycopg")
    # Measured apart: to measure every test would take half as long again.
    measured = ["tests/unit/functions", "tests/db/functions"]
    apart = [f"--ignore={path}" for path in measured]
    paths = ["tests/unit", "tests/db", *PROCESS_TESTS]
    session.run("pytest", *paths, *apart, "--dist", "worksteal", *session.posargs)
    covered = [f"--cov={module}" for module in OF_DJANGOS_VERSIONS]
    session.run(
        "pytest", *measured, *covered, "--cov-fail-under=100", "--dist", "worksteal", *session.posargs
    )


def _install(session: nox.Session, django: str, driver: str) -> None:
    session.install("-e", ".[dev]", f"Django=={django}.*")
    if driver == "psycopg":
        # psycopg2 stays, as for every user: Django prefers psycopg 3 where it finds it.
        session.install("psycopg[binary]>=3.2")
