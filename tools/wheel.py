"""Build the wheel, install it outside the checkout and use it: `python -m tools.wheel`.

The wheel is built from the source distribution, and used with the oldest and the newest Django.
"""

import os
import subprocess
import sys
import zipfile
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Final, NamedTuple

from tools import database_url, postgres
from tools.pythons import ITS_PYTHONS, NEWEST_DJANGO, NEWEST_PYTHONS, OLDEST_DJANGO, runs, wake_pyenv

ROOT = Path(__file__).resolve().parent.parent
PACKAGE = ROOT / "django_partisan"
APP: Final = "letters"

SETTINGS: Final = """\
INSTALLED_APPS = ["django_partisan", "{app}"]
DATABASES = {{"default": {database!r}}}
PARTISAN_CONFIG = {{"default": {{"WORKERS_COUNT": 1}}}}
"""
TASKS: Final = """\
from django_partisan import registry
from django_partisan.processor import BaseTaskProcessor


@registry.register
class Letter(BaseTaskProcessor):
    def run(self) -> None:
        print("sent to", self.args[0])
"""
COMMANDS: Final = (
    ("check",),
    ("migrate", "--verbosity", "0"),
    ("makemigrations", "--check", "--dry-run"),
    ("start_partisan", "--help"),
    ("partisan_doctor", "--help"),
    ("partisan_enqueue", "Letter", "--args", '["Ada"]'),
    ("start_partisan", "--once"),
    ("partisan_export", "grafana", "grafana"),
    ("partisan_export", "elk", "elk"),
)
"""What is done with an installed wheel: each command must end with exit code 0."""


class Pair(NamedTuple):
    """A version of Django, and the Pythons to use it with, the preferred one first."""

    django: str
    pythons: tuple[str, ...]


PAIRS: Final = (Pair(OLDEST_DJANGO, ITS_PYTHONS), Pair(NEWEST_DJANGO, NEWEST_PYTHONS))


def main() -> int:
    """Return 0 if the wheel is complete and works on its own with each Django whose Python is found."""
    wake_pyenv()
    with TemporaryDirectory(prefix="partisan-wheel-") as name:
        folder = Path(name)
        wheel = build(folder)
        if missing := sorted(shipped_files() - set(zipfile.ZipFile(wheel).namelist())):
            print(f"{wheel.name} lacks {', '.join(missing)}", file=sys.stderr)
            return 1
        with ThreadPoolExecutor() as threads:
            for result in threads.map(partial(try_pair, wheel, folder), PAIRS):
                print(result)
    return 0


def build(folder: Path) -> Path:
    """Build the source distribution, and the wheel from it, into a folder; return the wheel."""
    _run(sys.executable, "-m", "build", "--outdir", str(folder), str(ROOT), cwd=folder)
    return next(folder.glob("*.whl"))


def shipped_files() -> set[str]:
    """Return the names of all files of the package, as the wheel should contain them."""
    return {
        str(path.relative_to(ROOT))
        for path in PACKAGE.rglob("*")
        if path.is_file() and "__pycache__" not in path.parts
    }


def try_pair(wheel: Path, folder: Path, pair: Pair) -> str:
    """Install the wheel with a version of Django and use it; return a sentence about that."""
    python = next(filter(runs, pair.pythons), None)
    if python is None:
        wanted = " or ".join(pair.pythons)
        return f"No Python {wanted} found: {wheel.name} was not used with Django {pair.django}"
    project = folder / f"django{pair.django}"
    environment = project / "environment"
    _run(f"python{python}", "-m", "venv", "--without-pip", str(environment), cwd=folder)
    # The pip of this environment, because to install another one takes longer than the wheel.
    pip = (sys.executable, "-m", "pip", "--disable-pip-version-check", "--python", str(environment))
    _run(*pip, "install", "--quiet", str(wheel), f"Django=={pair.django}.*", cwd=folder)
    _run(*pip, "check", cwd=folder)
    use(environment / "bin" / "django-admin", project)
    return f"{wheel.name} works on its own with Python {python} and Django {pair.django}"


def use(admin: Path, project: Path) -> None:
    """Run the commands in a new project with a database of its own."""
    (project / APP).mkdir()
    (project / APP / "__init__.py").touch()
    (project / APP / "partisan_tasks.py").write_text(TASKS)
    with postgres.server() as server:
        database = database_url.parse(server.url)
        (project / "settings_of_a_user.py").write_text(SETTINGS.format(app=APP, database=database))
        for command in COMMANDS:
            _run(
                str(admin),
                *command,
                cwd=project,
                DJANGO_SETTINGS_MODULE="settings_of_a_user",
                PYTHONPATH=str(project),
            )


def _run(*command: str, cwd: Path, **variables: str) -> None:
    # Print the output only if it fails.
    done = subprocess.run(
        command,
        cwd=cwd,
        env=os.environ | variables,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        check=False,
    )
    if done.returncode != 0:
        sys.exit(f"{' '.join(command)} failed:\n{done.stdout}")


if __name__ == "__main__":
    sys.exit(main())
