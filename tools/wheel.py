"""Build the wheel, install it outside the checkout and use it: `python -m tools.wheel`."""

import os
import subprocess
import sys
import venv
import zipfile
from pathlib import Path
from tempfile import TemporaryDirectory

ROOT = Path(__file__).resolve().parent.parent
PACKAGE = ROOT / "django_partisan"

SETTINGS = """\
INSTALLED_APPS = ["django_partisan"]
DATABASES = {"default": {"ENGINE": "django.db.backends.postgresql", "NAME": "unused"}}
"""


def main() -> int:
    """Return 0 if the wheel is complete and works on its own."""
    with TemporaryDirectory(prefix="partisan-wheel-") as name:
        folder = Path(name)
        wheel = build(folder)
        if missing := sorted(shipped_files() - set(zipfile.ZipFile(wheel).namelist())):
            print(f"{wheel.name} lacks {', '.join(missing)}", file=sys.stderr)
            return 1
        use(wheel, folder)
    print(f"{wheel.name} is complete and works on its own")
    return 0


def build(folder: Path) -> Path:
    """Build the wheel into a folder."""
    _run(sys.executable, "-m", "build", "--wheel", "--outdir", str(folder), str(ROOT), cwd=folder)
    return next(folder.glob("*.whl"))


def shipped_files() -> set[str]:
    """Return the names of all files of the package, as the wheel should contain them."""
    return {
        str(path.relative_to(ROOT))
        for path in PACKAGE.rglob("*")
        if path.is_file() and "__pycache__" not in path.parts
    }


def use(wheel: Path, folder: Path) -> None:
    """Install the wheel into a new environment, show a command's help and export the shipped files."""
    environment = folder / "environment"
    venv.create(environment, with_pip=True)
    programs = environment / "bin"
    _run(str(programs / "pip"), "install", "--quiet", str(wheel), cwd=folder)
    (folder / "settings_of_a_user.py").write_text(SETTINGS)
    for command in (
        ("help", "start_partisan"),
        ("partisan_export", "grafana", str(folder / "grafana")),
        ("partisan_export", "elk", str(folder / "elk")),
    ):
        _run(
            str(programs / "django-admin"),
            *command,
            cwd=folder,
            DJANGO_SETTINGS_MODULE="settings_of_a_user",
            PYTHONPATH=str(folder),
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
