"""OpenSearch's core, from Maven: data streams, templates, bulk requests and searches, without security."""

import hashlib
import os
import subprocess
import zipfile
from pathlib import Path
from typing import Final

from .part import Need, Part

VERSION: Final = "2.19.6"
_ARTIFACT: Final = f"org.opensearch.distribution.integ-test-zip:opensearch:{VERSION}:zip"
_REMEDY: Final = "install Maven and Java 17 (on Debian: apt-get install maven openjdk-17-jre-headless)"
_SHA256: Final = "71d6d8b1c637f3faecda0752b184b1cc526fc6eaad59ec1408c6327bb00b9293"


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
    # zipfile sets no modes.
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
