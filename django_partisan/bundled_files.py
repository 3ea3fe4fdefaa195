"""Find and export the files that the package ships for other programs: dashboards, alerts, log shipping.

In an installed package they are in ``_shipped``; in a checkout, at the root of the repository.
"""

import hashlib
import json
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Final

from django_partisan import __version__
from django_partisan.exceptions import PartisanError

PACKAGE: Final = Path(__file__).parent
MANIFEST: Final = "EXPORTED.json"

# The files and folders that are shipped; builders and tests are not.
PARTS: Final[dict[str, tuple[str, ...]]] = {
    "grafana": ("README.md", "alertmanager", "alerts", "dashboards", "prometheus", "provisioning"),
    "elk": (
        "README.md",
        "alloy",
        "collector",
        "elasticsearch",
        "filebeat",
        "kibana",
        "logstash",
        "rsyslog",
        "vector",
    ),
}


class CannotExport(PartisanError):
    """The shipped files are missing, or would overwrite changed files; the message says which."""


def folder_of(what: str, package: Path = PACKAGE) -> Path:
    """Return the folder of ``grafana`` or ``elk``; raise ``CannotExport`` if files are missing."""
    candidates = (package / "_shipped" / what, package.parent / what)
    for folder in candidates:
        if all((folder / part).exists() for part in PARTS[what]):
            return folder
    raise CannotExport(
        f"The files of {what} are missing; expected them in {candidates[0]}. Reinstall the package."
    )


def files_of(what: str, folder: Path) -> Iterator[Path]:
    """Yield the paths of the shipped files, relative to ``folder``, sorted."""
    for part in PARTS[what]:
        found = [folder / part] if (folder / part).is_file() else sorted((folder / part).rglob("*"))
        for path in found:
            if path.is_file() and "__pycache__" not in path.parts:
                yield path.relative_to(folder)


def export(what: str, target: Path, force: bool = False) -> list[Path]:
    """Write the files of ``what`` below ``target``, and a manifest; return their relative paths.

    Raises ``CannotExport``, having written nothing, if a file there differs and ``force`` is not given.
    """
    folder = folder_of(what)
    paths = list(files_of(what, folder))
    changed = [str(path) for path in paths if _differs(folder / path, target / path)]
    if changed and not force:
        raise CannotExport(
            f"{len(changed)} files in {target} differ from those to be written: {', '.join(changed[:5])}"
            f"{' ...' if len(changed) > 5 else ''}. Use --force to overwrite them, or choose another folder."
        )
    for path in paths:
        (target / path).parent.mkdir(parents=True, exist_ok=True)
        shutil.copy(folder / path, target / path)
    digests = {str(path): digest_of(folder / path) for path in paths}
    manifest = {"what": what, "version": __version__, "files": digests}
    (target / MANIFEST).write_text(json.dumps(manifest, indent=2) + "\n", encoding="utf-8")
    return paths


def manifest_of(folder: Path) -> dict[str, Any] | None:
    """Return the manifest of an exported folder, or ``None`` if nothing was exported there."""
    path = folder / MANIFEST
    return json.loads(path.read_text(encoding="utf-8")) if path.exists() else None


def digest_of(path: Path) -> str:
    """Return the SHA-256 of a file, in hexadecimal."""
    return hashlib.sha256(path.read_bytes()).hexdigest()


def _differs(source: Path, target: Path) -> bool:
    return target.exists() and (not target.is_file() or target.read_bytes() != source.read_bytes())
