"""The check of the wheel uses the Pythons and Djangos that the package supports."""

import re

from tests.support.commands import ROOT
from tools.wheel import PAIRS


def classified(name: str) -> list[tuple[int, ...]]:
    """Return the versions in the classifiers that begin with ``name``, in order."""
    text = (ROOT / "pyproject.toml").read_text()
    found = re.findall(rf'"{name} :: ([0-9]+\.[0-9]+)"', text)
    return sorted(tuple(map(int, version.split("."))) for version in found)


def test_the_wheel_is_used_with_the_oldest_and_the_newest_of_both():
    djangos, pythons = classified("Framework :: Django"), classified("Programming Language :: Python")
    used = [(tuple(map(int, pair.django.split("."))), pair.pythons[0]) for pair in PAIRS]

    assert used == [
        (djangos[0], "{}.{}".format(*pythons[0])),
        (djangos[-1], "{}.{}".format(*pythons[-1])),
    ]
