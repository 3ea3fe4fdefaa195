"""What is generated is up to date, and each file says whether our tests run it."""

from pathlib import Path

import pytest

from elk import build
from tests.unit.elk import files

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


def test_scripts_can_be_executed() -> None:
    scripts = [path for path in files.shipped() if path.suffix == ".sh"]

    assert [path.name for path in scripts] == ["install.sh", "resend.sh"]
    assert all(path.stat().st_mode & 0o111 == 0o111 for path in scripts)
