"""What is generated is up to date, and each file says whether our tests run it."""

from pathlib import Path

import pytest

from elk import build
from tests.unit.elk import files

WORDS = {
    "Run in the tests": "run",
    "Checked for shape only": "checked for shape only",
}


def _name(path: Path) -> str:
    return str(path.relative_to(files.ELK))


@pytest.mark.parametrize("name", build.files())
def test_a_generated_file_is_what_the_builder_makes(name: str) -> None:
    assert (files.ELK / name).read_text() == build.files()[name]


def test_the_builder_writes_every_generated_file(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    for folder in ("elasticsearch", "kibana"):
        (tmp_path / folder).mkdir()
    monkeypatch.setattr(build, "FOLDER", tmp_path)

    build.main()

    assert {str(path.relative_to(tmp_path)) for path in tmp_path.rglob("*.*")} == build.files().keys()
    assert capsys.readouterr().out.splitlines() == [f"elk/{name}" for name in build.files()]


@pytest.mark.parametrize(
    "path", [path for path in files.shipped() if path.suffix not in files.WITHOUT_COMMENTS], ids=_name
)
def test_a_file_says_at_its_top_whether_it_is_run(path: Path) -> None:
    top = "\n".join(path.read_text().splitlines()[:6])

    assert [word for word in WORDS if word in top], top


@pytest.mark.parametrize("path", files.shipped(), ids=_name)
def test_the_readme_says_the_same_of_every_file(path: Path) -> None:
    name = _name(path)
    table = [line for line in (files.ELK / "README.md").read_text().splitlines() if line.startswith("|")]
    rows = [line for line in table if f"`{name}`" in line]
    if name == "README.md":
        return

    assert len(rows) == 1
    said = [meaning for word, meaning in WORDS.items() if word in path.read_text()]
    assert said
    assert rows[0].split("|")[-2].strip().startswith(said[0])


def test_scripts_can_be_executed() -> None:
    scripts = [path for path in files.shipped() if path.suffix == ".sh"]

    assert [path.name for path in scripts] == ["install.sh", "resend.sh"]
    assert all(path.stat().st_mode & 0o111 == 0o111 for path in scripts)
