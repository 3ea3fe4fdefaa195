"""The demo's output is cut only between words."""

import io

import pytest

from demo.progress import Terminal

MESSAGE = (
    "Task 47 (ImportPackage) will be retried in 1 s, 4 retries left: "
    "CatalogueError: 503 The catalogue is down"
)


class Screen(io.StringIO):
    def isatty(self) -> bool:
        return True


@pytest.fixture
def narrow(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("COLUMNS", "60")
    monkeypatch.setenv("TERM", "xterm")


@pytest.mark.usefixtures("narrow")
def test_a_long_message_goes_on_below_itself_and_loses_no_word():
    head = "  log      12:00:00.000  "

    lines = Terminal(Screen()).wrapped(head, MESSAGE).split("\n")

    assert " ".join(line[len(head) :] for line in lines) == MESSAGE
    assert lines[0].startswith(head)
    assert len(lines) > 1
    assert all(len(line) < 60 for line in lines)


@pytest.mark.usefixtures("narrow")
def test_the_line_that_changes_is_cut_between_words():
    screen = Screen()

    Terminal(screen).update(MESSAGE)

    shown = screen.getvalue().removeprefix("\r\x1b[K")
    assert len(shown) < 60
    assert shown.endswith(" ...")
    assert MESSAGE.startswith(shown.removesuffix("...")), "whole words"
