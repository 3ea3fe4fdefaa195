"""Run queries from the documentation over log lines: ``field:value``, ``AND``, ``OR`` and parentheses."""

import re
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any, Final

from tests.support.commands import ROOT

_TOKENS: Final = re.compile(r"\(|\)|AND\b|OR\b|[\w.@]+:[^\s()]+")
PAGE: Final = ROOT / "docs" / "observability.md"


def documented(language: str, heading: str, page: Path = PAGE) -> list[str]:
    """Return the code blocks of one language below a heading of a page, without their fences."""
    section = page.read_text().split(f"\n### {heading}\n", 1)[1].split("\n## ")[0].split("\n### ")[0]
    return [block.strip() for block in re.findall(rf"```{language}\n(.*?)```", section, re.DOTALL)]


def found_by(query: str, lines: Iterable[Mapping[str, Any]]) -> list[Mapping[str, Any]]:
    """Return the lines that match a query, with the syntax of Kibana and ``query_string``."""
    tokens = _TOKENS.findall(query)
    assert "".join(tokens) == re.sub(r"\s", "", query), f"cannot read {query!r}"
    return [line for line in lines if _Reader(tokens, line).whole()]


class _Reader:
    """Parse the tokens of one query, and match each term against one line."""

    def __init__(self, tokens: list[str], line: Mapping[str, Any]) -> None:
        self._tokens = [*tokens, ""]
        self._line = line

    def whole(self) -> bool:
        holds = self._any()
        assert self._tokens == [""], self._tokens
        return holds

    def _any(self) -> bool:
        holds = [self._all()]
        while self._tokens[0] == "OR":
            self._tokens.pop(0)
            holds.append(self._all())
        return any(holds)

    def _all(self) -> bool:
        holds = [self._term()]
        while self._tokens[0] == "AND":
            self._tokens.pop(0)
            holds.append(self._term())
        return all(holds)

    def _term(self) -> bool:
        token = self._tokens.pop(0)
        if token == "(":
            holds = self._any()
            assert self._tokens.pop(0) == ")"
            return holds
        name, _, value = token.partition(":")
        return str(self._line.get(name)) == value
