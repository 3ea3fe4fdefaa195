"""Parts are fetched once and atomically; for a missing part, the error says what to do."""

from pathlib import Path

import pytest

from tools import parts
from tools.parts.__main__ import main
from tools.parts.catalogue import PARTS, chosen
from tools.parts.go_programs import FILEBEAT, JAEGER, MODULES, OTELCOL, PROMETHEUS
from tools.parts.part import Need, Part

GO_PROGRAMS = (FILEBEAT, OTELCOL, JAEGER, PROMETHEUS)
GO_PARTS = pytest.mark.parametrize("part", GO_PROGRAMS, ids=lambda part: part.name)
COMPILER = """\
#!/bin/sh
# Writes its command line where the program should be.
[ "$1 $2" = "build -mod=readonly" ] && [ -e go.sum ] || exit 1
for last; do [ "$before" = -o ] && folder=$last; before=$last; done
echo "$*" >"$folder${PWD##*/}"
"""


@pytest.fixture(autouse=True)
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An empty cache."""
    monkeypatch.setenv("PARTISAN_PARTS", str(tmp_path / "parts"))
    return tmp_path / "parts"


def _part(*needs: Need, program: str = "bin/program", version: str = "1") -> Part:
    def fetch(folder: Path) -> None:
        (folder / "bin").mkdir()
        (folder / "bin" / "program").write_text("fetched")

    return Part("part", version, program, needs, fetch)


def test_a_part_is_fetched_once_for_each_version(cache: Path) -> None:
    assert parts.fetch(_part())
    assert not parts.fetch(_part())
    assert parts.fetch(_part(version="2"))

    assert parts.find(_part()).read_text() == "fetched"
    assert sorted(path.name for path in cache.iterdir()) == ["part-1", "part-2"]


def test_a_part_that_was_not_fetched_says_what_to_install_and_run() -> None:
    need = Need("no-such-program", "install no-such-program")

    with pytest.raises(parts.PartMissing, match=r"part 1 is missing: run make parts PARTS=part"):
        parts.find(_part())
    with pytest.raises(parts.PartMissing, match=r"install no-such-program; then run make parts PARTS=part"):
        parts.find(_part(need))
    with pytest.raises(parts.PartMissing, match="part 1 cannot be fetched: install no-such-program"):
        parts.fetch(_part(need))


def test_nothing_is_left_of_a_download_that_is_incomplete(cache: Path) -> None:
    with pytest.raises(parts.PartMissing, match="does not contain bin/other"):
        parts.fetch(_part(program="bin/other"))

    assert list(cache.iterdir()) == []


def test_parts_are_chosen_by_name() -> None:
    names = [part.name for part in PARTS]

    assert chosen(["all"]) == list(PARTS)
    assert [part.name for part in chosen([])] == ["opensearch"]
    assert [part.name for part in chosen(names[:1])] == names[:1]


def test_an_unknown_name_is_refused_with_those_that_are_known(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["opensaerch"]) == 2

    assert "PARTS has 'opensaerch'; expected all, or names of opensearch" in capsys.readouterr().err


@pytest.mark.parametrize("variable", ["XDG_CACHE_HOME", "HOME"])
def test_the_cache_is_the_users(variable: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("PARTISAN_PARTS")
    monkeypatch.delenv("XDG_CACHE_HOME", raising=False)
    monkeypatch.setenv(variable, str(tmp_path))

    base = tmp_path if variable == "XDG_CACHE_HOME" else tmp_path / ".cache"
    assert parts.cache_folder() == base / "django-partisan" / "parts"


@GO_PARTS
def test_a_go_program_is_built_from_the_modules_that_are_pinned(
    part: Part, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    compiler = tmp_path / "go"
    compiler.write_text(COMPILER)
    compiler.chmod(0o755)
    monkeypatch.setenv("PATH", str(tmp_path), prepend=":")

    assert parts.fetch(part)

    assert parts.find(part).read_text().startswith("build -mod=readonly ")


@GO_PARTS
def test_the_pins_of_a_go_program_name_modules_and_no_host_to_fetch_them_from(part: Part) -> None:
    pins = "".join((MODULES / part.name / name).read_text() for name in ("go.mod", "go.sum"))

    assert pins.startswith("module ")
    assert "://" not in pins


def test_the_versions_of_go_programs_are_those_of_their_pins() -> None:
    pins = {part.name: (MODULES / part.name / "go.mod").read_text() for part in GO_PROGRAMS}
    release = PROMETHEUS.version.replace("3.", "0.3", 1)  # the module of version 3.16.0 is 0.316.0

    assert (
        f"github.com/elastic/beats/v7 v7.0.0-alpha2.0.{FILEBEAT.version.partition('-')[2]}"
        in pins["filebeat"]
    )
    assert f"/exporter/elasticsearchexporter v{OTELCOL.version}\n" in pins["otelcol"]
    assert f"github.com/jaegertracing/jaeger v{JAEGER.version}\n" in pins["jaeger"]
    assert f"github.com/prometheus/prometheus v{release}" in pins["prometheus"]
