"""The console blocks of a page, with marks that say whether a test runs them."""

import re
from collections.abc import Iterator
from typing import NamedTuple

from tests.support.pages import Block, blocks_of

_RUN = re.compile(r"<!-- run(?P<how>[^>]*) -->\s*\Z")
_NOT_RUN = re.compile(r"\*Not run in our tests:\s[^*]+\*\s*\Z")
_CODE = re.compile(r": exit code (\d)")
_UNTIL = re.compile(r" in the background, until: (.+)")
_BY = re.compile(r" by (\S+)")
_PATIENTLY = ", again until it succeeds"


class Console(NamedTuple):
    """A console block: its commands, and what the mark before it says."""

    line: int
    commands: list[str]
    is_run: bool
    exit_code: int = 0
    until: str | None = None
    patiently: bool = False
    by: str | None = None


def consoles_of(text: str) -> Iterator[Console]:
    """Yield the console blocks of a page; fail for a block without a mark."""
    lines = text.splitlines(keepends=True)
    for block in blocks_of(text):
        if block.kind != "console":
            continue
        before = "".join(lines[: block.line - 2])
        if _NOT_RUN.search(before):
            yield Console(block.line, _commands_of(block), is_run=False)
            continue
        mark = _RUN.search(before)
        assert mark is not None, f"line {block.line}: is it run, or not?"
        yield _marked(block, mark["how"])


def _marked(block: Block, how: str) -> Console:
    console = Console(block.line, _commands_of(block), is_run=True)
    if code := _CODE.fullmatch(how):
        return console._replace(exit_code=int(code[1]))
    if until := _UNTIL.fullmatch(how):
        return console._replace(until=until[1])
    if by := _BY.fullmatch(how):
        return console._replace(by=by[1])
    assert how in ("", _PATIENTLY), f"line {block.line}: what does {how!r} mean?"
    return console._replace(patiently=how == _PATIENTLY)


def _commands_of(block: Block) -> list[str]:
    """Return the lines after prompts, with their continuation lines; other lines are output."""
    commands: list[str] = []
    goes_on = False
    for line in block.text.splitlines():
        if goes_on:
            commands[-1] += "\n" + line
        elif line.startswith("$ "):
            commands.append(line[2:])
        goes_on = (goes_on or line.startswith("$ ")) and line.endswith("\\")
    return commands
