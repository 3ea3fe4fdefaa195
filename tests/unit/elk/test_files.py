"""Generated files are up to date, and each file says whether our tests run it."""

import re
from pathlib import Path

import pytest

from elk import build
from tests.support.commands import ROOT
from tests.unit.elk import files
from tools.parts.go_programs import FILEBEAT, OTELCOL
from tools.parts.opensearch import OPENSEARCH
from tools.parts.part import Part

README = (files.ELK / "README.md").read_text()
WORDS = {
    "Run in the tests": "run",
    "Checked for shape only": "checked for shape only",
}


def test_every_generated_file_is_what_the_builder_makes() -> None:
    made = build.files()

    assert {name: (files.ELK / name).read_text() for name in made} == made


@pytest.mark.parametrize(
    "path", [path for path in files.shipped() if path.name != "README.md"], ids=lambda path: path.name
)
def test_a_file_and_the_readme_say_alike_whether_it_is_run(path: Path) -> None:
    name = f"`{path.relative_to(files.ELK)}`"
    lines = path.read_text().splitlines()
    top = "\n".join(lines if path.suffix in files.WITHOUT_COMMENTS else lines[:6])
    said = [meaning for word, meaning in WORDS.items() if word in top]
    rows = [line for line in README.splitlines() if line.startswith("|") and name in line]

    assert [row.split("|")[-2].strip().startswith(said[0]) for row in rows] == [True]
    assert bool(re.search(r"\| run on \d{4}-\d\d-\d\d, ", rows[0])) == (said[0] == "run")


@pytest.mark.parametrize(
    ("name", "part"), [("filebeat/filebeat.yml", FILEBEAT), ("collector/collector.yaml", OTELCOL)]
)
def test_the_readme_and_the_page_name_the_versions_that_a_recipe_was_run_with(name: str, part: Part) -> None:
    page = (ROOT / "docs" / "logs-shipping.md").read_text()
    [row] = [line for line in README.splitlines() if f"`{name}`" in line]
    [way] = [line for line in page.splitlines() if line.startswith("|") and f"`elk/{name}`" in line]
    version = part.version.partition("-")[0]

    for text in (row, way):
        assert version in text
        assert f"OpenSearch {OPENSEARCH.version}" in text


def test_scripts_can_be_executed() -> None:
    scripts = [path for path in files.shipped() if path.suffix == ".sh"]

    assert [path.name for path in scripts] == ["install.sh", "resend.sh"]
    assert all(path.stat().st_mode & 0o111 == 0o111 for path in scripts)
