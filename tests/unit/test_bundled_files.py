"""Files shipped with the package can be exported, and files of others are not overwritten."""

import json
import re
from io import StringIO
from pathlib import Path

import pytest
from django.core.management import CommandError, call_command

from django_partisan import __version__, bundled_files

ROOT = Path(__file__).parents[2]
KINDS = pytest.mark.parametrize("what", sorted(bundled_files.PARTS))


def export(*arguments: str) -> str:
    out = StringIO()
    call_command("partisan_export", *arguments, stdout=out)
    return out.getvalue()


@KINDS
def test_everything_is_written_with_its_mode_and_a_manifest(what, tmp_path):
    said = export(what, str(tmp_path / "new" / "folder"))

    folder = tmp_path / "new" / "folder"
    written = {path.relative_to(folder) for path in folder.rglob("*") if path.is_file()}
    sources = set(bundled_files.files_of(what, ROOT / what))
    assert written == {*sources, Path(bundled_files.MANIFEST)}
    assert len(sources) > 8
    for path in sources:
        assert (folder / path).read_bytes() == (ROOT / what / path).read_bytes()
        assert (folder / path).stat().st_mode == (ROOT / what / path).stat().st_mode
    manifest = json.loads((folder / bundled_files.MANIFEST).read_text())
    assert manifest["version"] == __version__
    assert manifest["files"].keys() == {str(path) for path in sources}
    assert said == f"{len(sources)} files of version {__version__} are in {folder}.\n"


def test_no_builder_is_shipped():
    names = {path.name for what in bundled_files.PARTS for path in bundled_files.files_of(what, ROOT / what)}

    assert {"alerts.yaml", "partisan-overview.json", "filebeat.yml"} <= names
    assert not [name for name in names if name.endswith((".py", ".mjs", ".tsx"))]


def test_caches_are_not_shipped(tmp_path):
    for part in bundled_files.PARTS["elk"]:
        (tmp_path / part).mkdir()
    (tmp_path / "kibana" / "__pycache__").mkdir()
    (tmp_path / "kibana" / "__pycache__" / "x.pyc").touch()
    (tmp_path / "kibana" / "a.ndjson").touch()

    assert list(bundled_files.files_of("elk", tmp_path)) == [Path("kibana/a.ndjson")]


@pytest.fixture
def exported(tmp_path):
    """Return a folder with the exported files of ``elk``."""
    export("elk", str(tmp_path))
    return tmp_path


def test_writing_again_changes_nothing(exported):
    assert "are in" in export("elk", str(exported))


def test_a_file_that_differs_is_not_overwritten_without_force(exported):
    (exported / "README.md").write_text("mine")
    (exported / "kibana" / "partisan.ndjson").unlink()

    with pytest.raises(CommandError, match=r"1 files in .* differ .*: README\.md\. Use --force"):
        export("elk", str(exported))

    assert (exported / "README.md").read_text() == "mine"
    assert not (exported / "kibana" / "partisan.ndjson").exists()

    export("elk", str(exported), "--force")

    assert (exported / "README.md").read_bytes() == (ROOT / "elk" / "README.md").read_bytes()


def test_many_files_that_differ_are_not_all_named(exported):
    for path in bundled_files.files_of("elk", exported):
        (exported / path).write_text("mine")

    with pytest.raises(CommandError, match=r" \.\.\.\. Use --force"):
        export("elk", str(exported))


def test_a_folder_that_cannot_be_made_is_told(tmp_path):
    (tmp_path / "file").touch()

    with pytest.raises(CommandError, match="File exists"):
        export("elk", str(tmp_path / "file"))


def test_an_installed_package_has_the_files_inside_it_and_one_that_lacks_them_says_so(tmp_path):
    inside = tmp_path / "django_partisan" / "_shipped" / "elk"
    with pytest.raises(bundled_files.CannotExport, match="Reinstall the package"):
        bundled_files.folder_of("elk", tmp_path / "django_partisan")
    for part in bundled_files.PARTS["elk"]:
        (inside / part).mkdir(parents=True)

    assert bundled_files.folder_of("elk", tmp_path / "django_partisan") == inside


def test_the_wheel_takes_exactly_the_parts_that_are_shipped():
    text = (ROOT / "pyproject.toml").read_text()
    lines = dict(re.findall(r'^"((?:grafana|elk)/[^"]+)" = "([^"]+)"$', text, re.MULTILINE))
    parts = [f"{what}/{part}" for what in bundled_files.PARTS for part in bundled_files.PARTS[what]]

    assert lines == {part: f"django_partisan/_shipped/{part}" for part in parts}
