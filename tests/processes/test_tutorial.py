"""The tutorial, command by command, from an empty directory to a requeued task."""

import os
import subprocess
import sys
from collections import defaultdict
from collections.abc import Iterator
from importlib.util import find_spec
from pathlib import Path

import pytest

from tests.support.consoles import Console, consoles_of
from tests.support.pages import Block, blocks_of, page
from tests.support.walking import Walk
from tools import postgres
from tools.postgres.server import free_port

PAGE = page("docs/tutorial.md")
CURL = f"""#!{sys.executable}
import sys, urllib.request
print(urllib.request.urlopen(sys.argv[-1]).read().decode())
"""


class TutorialWalk(Walk):
    """A reader who writes the files of the page, and checks that commands print what it shows."""

    def __init__(self, folder: Path, env: dict[str, str], server: postgres.Server) -> None:
        super().__init__(folder, env, defaultdict(free_port))  # chosen when first used, so that it is free
        self.address = {"HOST": env["PGHOST"], "PORT": str(server.port), "USER": env["PGUSER"]}
        self.env.pop("DJANGO_SETTINGS_MODULE", None)
        curl = folder / "bin" / "curl"
        curl.parent.mkdir()
        curl.write_text(CURL)
        curl.chmod(0o755)
        self.env["PATH"] = f"{curl.parent}:{self.env['PATH']}"

    def write(self, block: Block) -> None:
        """Append a block to the file that its first line names; only the settings exist before."""
        name = block.text.partition("\n")[0].removeprefix("# ")
        text = block.text
        if find_spec("django.tasks") is None:  # as the page describes for Django 5.2
            text = text.replace("django.tasks", "django_tasks")
        if name.endswith("settings.py"):
            text += f"DATABASES['default'].update({self.address!r}, NAME={self.env['PGDATABASE']!r})\n"
        with (self.folder / name).open("a") as file:
            file.write(text)

    def is_right(self, console: Console, command: str, done: "subprocess.CompletedProcess[str]") -> bool:
        printed = [line.strip() for line in done.stdout.splitlines()]
        shown = [line.strip() for line in shown_below(console, command)]
        return super().is_right(console, command, done) and all(
            part in printed if " " not in part else part in done.stdout for part in shown
        )


def shown_below(console: Console, command: str) -> list[str]:
    """Return the lines that the page shows below a command."""
    [block] = [block for block in blocks_of(PAGE) if block.line == console.line]
    _, prompt, below = block.text.partition(f"$ {command}\n")
    assert prompt, f"the page does not show {command}"
    return below.partition("$ ")[0].splitlines()


@pytest.fixture
def walk(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[TutorialWalk]:
    """An empty directory, and a server with an empty database."""
    monkeypatch.chdir(tmp_path)
    with postgres.server() as server:
        env = os.environ | server.env()
        with TutorialWalk(tmp_path, env, server) as made:
            yield made


def test_the_tutorial_works_from_its_first_command_to_its_last(walk: TutorialWalk):
    steps: list[Block | Console] = [block for block in blocks_of(PAGE) if block.kind == "python"]
    steps += [console for console in consoles_of(PAGE) if console.is_run]

    for step in sorted(steps, key=lambda step: step.line):
        if isinstance(step, Block):
            walk.write(step)
        else:
            walk.take(step)

    assert len(walk.background) == 2
