"""Links have targets, commands exist, and words are those of the glossary."""

import re
import shlex
from pathlib import Path

import pytest

from tests.support.commands import ROOT
from tests.support.pages import (
    PAGES,
    anchors_of,
    blocks_of,
    code_in,
    name_of,
    page,
    prose_of,
    without_blocks,
)

README_LINES_MAX = 155
LINK = re.compile(r"\[[^\]]*\]\(([^)\s]+)\)")

FOLDERS = (
    "grafana elk tools bench demo tests docs django_partisan config engine logs metrics sql telemetry tracing"
)
FILE = re.compile(rf"(?:{FOLDERS.replace(' ', '|')})/[\w./-]*")
HOMES = (ROOT, ROOT / "django_partisan")

# Words for which the glossary has others.
SYNONYMS = re.compile(
    r"\b(actors?|adopt\w*|bury|dequeue\w*|jobs?|orphans?|publish\w*|snooze\w*|twins?|work ?items?)\b",
    re.IGNORECASE,
)

each_page = pytest.mark.parametrize("path", PAGES, ids=name_of)


@each_page
def test_every_link_to_a_file_of_ours_leads_somewhere(path: Path):
    broken = []
    for target in LINK.findall(without_blocks(path.read_text())):
        if "://" in target:
            continue
        file, _, anchor = target.partition("#")
        other = (path.parent / file).resolve() if file else path
        if not other.exists() or (anchor and anchor not in anchors_of(other.read_text())):
            broken.append(target)

    assert broken == []


@each_page
def test_every_make_target_that_is_named_exists(path: Path):
    targets = set(re.findall(r"^([a-z_-]+):", (ROOT / "Makefile").read_text(), re.MULTILINE))
    targets |= set(re.findall(r"\b[a-z]+_release\b", (ROOT / "Makefile").read_text()))
    text = path.read_text()
    named = {
        match
        for code in [*code_in(text), *(block.text for block in blocks_of(text) if block.kind == "console")]
        for match in re.findall(r"(?:^|\$ )make ([a-z_-]+)", code, re.MULTILINE)
    }

    assert named <= targets


@each_page
def test_no_synonym_of_our_words_is_used(path: Path):
    lines = prose_of(path.read_text()).splitlines()
    if path.name == "glossary.md":
        lines = [
            line.rpartition("|")[0].rpartition("|")[0] for line in lines
        ]  # the last column: words not to use

    # Prometheus uses the word "job" itself.
    assert [line for line in lines if SYNONYMS.search(line) and "Prometheus" not in line] == []


@each_page
def test_files_that_a_page_names_exist(path: Path):
    named = [code for code in code_in(path.read_text()) if FILE.fullmatch(code)]

    assert [code for code in named if not any((home / code).exists() for home in HOMES)] == []


def test_the_readme_is_short_and_leads_to_every_page():
    linked = {target.partition("#")[0] for target in LINK.findall(page("README.md"))}

    assert len(page("README.md").splitlines()) <= README_LINES_MAX
    assert {name_of(path) for path in PAGES} - {"README.md"} <= linked


@each_page
def test_every_start_partisan_in_a_console_is_understood(path: Path, parser):
    for block in blocks_of(path.read_text()):
        if block.kind != "console":
            continue
        for line in block.text.replace("\\\n", " ").splitlines():
            if line.startswith("$ ") and "start_partisan" in line:
                words = shlex.split(re.sub(r"\d?>.*", "", line))

                parser.parse_args(words[words.index("start_partisan") + 1 :])
