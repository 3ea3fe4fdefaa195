"""Helpers that read the files of ``elk/``."""

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import yaml

from tests.support.commands import ROOT

ELK = ROOT / "elk"
HAND_WRITTEN_BY_US = {".py"}
WITHOUT_COMMENTS = {".json", ".ndjson", ".md"}


def shipped() -> list[Path]:
    """Return every file that is shipped to users."""
    return sorted(
        path
        for path in ELK.rglob("*")
        if path.is_file() and path.suffix not in HAND_WRITTEN_BY_US and "__pycache__" not in path.parts
    )


def read_yaml(name: str) -> Any:
    """Return a YAML file's content."""
    return yaml.load((ELK / name).read_text(), yaml.CSafeLoader)


def read_json(name: str) -> Any:
    """Return a JSON file's content."""
    return json.loads((ELK / name).read_text())


def saved_objects() -> list[dict[str, Any]]:
    """Return the objects that Kibana imports."""
    return [json.loads(line) for line in (ELK / "kibana" / "partisan.ndjson").read_text().splitlines()]


def types_of(properties: Mapping[str, Any], prefix: str = "") -> dict[str, str]:
    """Return the type of each field that the ``properties`` of a mapping declare."""
    types: dict[str, str] = {}
    for name, declared in properties.items():
        if "properties" in declared:
            types |= types_of(declared["properties"], f"{prefix}{name}.")
        else:
            types[prefix + name] = declared["type"]
    return types
