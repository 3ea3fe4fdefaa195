"""OpenSearch's core, from Maven: data streams, templates, bulk requests and searches, without security."""

import hashlib
import os
import re
import shutil
import subprocess
import zipfile
from collections.abc import Iterator
from pathlib import Path
from typing import Final

from .cache import PartMissing
from .part import Need, Part

VERSION: Final = "2.19.6"
JAVA_MAJORS: Final = range(11, 24)
"""Supported versions of Java. Java 24 and later have no security manager, which OpenSearch needs."""
_ARTIFACT: Final = f"org.opensearch.distribution.integ-test-zip:opensearch:{VERSION}:zip"
_REMEDY: Final = "install Maven and Java 17 (on Debian: apt-get install maven openjdk-17-jre-headless)"
_SHA256: Final = "71d6d8b1c637f3faecda0752b184b1cc526fc6eaad59ec1408c6327bb00b9293"


def java() -> Path:
    """Return a Java that can run OpenSearch: from JAVA_HOME, from the PATH, or another installed one."""
    for home in _homes():
        release = home / "release"
        found = re.search(r'JAVA_VERSION="(\d+)', release.read_text()) if release.exists() else None
        if found and int(found[1]) in JAVA_MAJORS:
            return home / "bin" / "java"
    raise PartMissing(f"no Java {JAVA_MAJORS[0]} to {JAVA_MAJORS[-1]} was found: {_REMEDY}, or set JAVA_HOME")


def _homes() -> Iterator[Path]:
    if home := os.environ.get("JAVA_HOME"):
        yield Path(home)
    if program := shutil.which("java"):
        yield Path(program).resolve().parent.parent
    yield from sorted(Path("/usr/lib/jvm").glob("*"))


def _fetch(folder: Path) -> None:
    subprocess.run(
        ["mvn", "-q", "-B", "dependency:copy", f"-Dartifact={_ARTIFACT}", f"-DoutputDirectory={folder}"],
        cwd=folder,
        check=True,
    )
    archive = folder / f"opensearch-{VERSION}.zip"
    digest = hashlib.sha256(archive.read_bytes()).hexdigest()
    if digest != _SHA256:
        raise ValueError(f"{archive.name} has the SHA-256 {digest}; expected {_SHA256}")
    with zipfile.ZipFile(archive) as content:
        content.extractall(folder)
    archive.unlink()
    # zipfile does not restore file modes.
    for program in (folder / f"opensearch-{VERSION}" / "bin").iterdir():
        os.chmod(program, 0o755)


OPENSEARCH: Final = Part(
    name="opensearch",
    version=VERSION,
    program=f"opensearch-{VERSION}/bin/opensearch",
    needs=(Need("mvn", _REMEDY),),
    fetch=_fetch,
    by_default=True,
)
