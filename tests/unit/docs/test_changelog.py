"""CHANGELOG.md has the form of Keep a Changelog, which the release commands rely on."""

import re

from django_partisan import __version__
from tests.support.commands import ROOT

KINDS = {"Added", "Changed", "Deprecated", "Removed", "Fixed", "Security"}
UNRELEASED = "Unreleased"
TEXT = (ROOT / "CHANGELOG.md").read_text()
RELEASES = re.findall(r"^## (.+)$", TEXT, re.MULTILINE)


def test_each_release_has_its_date_and_the_newest_is_this_version_or_not_released():
    newest, *older = RELEASES
    dated = [newest] * (newest != UNRELEASED) + older

    assert [title for title in dated if not re.fullmatch(r"\d+\.\d+\.\d+ - \d{4}-\d\d-\d\d", title)] == []
    assert newest.partition(" ")[0] in (UNRELEASED, __version__)


def test_a_version_in_development_has_what_the_release_commands_replace():
    assert ".dev" not in __version__ or RELEASES[0] == UNRELEASED


def test_the_sections_are_those_of_keep_a_changelog():
    assert set(re.findall(r"^### (.+)$", TEXT, re.MULTILINE)) <= KINDS


def test_no_change_is_listed_twice():
    changes = [line.partition(". ")[0] for line in TEXT.splitlines() if line.startswith("- ")]

    assert len(changes) == len(set(changes)) > 0
