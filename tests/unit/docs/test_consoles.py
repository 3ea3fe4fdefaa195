"""Each command for operators is run by a test, or marked as not run."""

from pathlib import Path

import pytest

from tests.support.commands import ROOT
from tests.support.consoles import Console, consoles_of
from tests.support.pages import page

MARKED = """\
<!-- run: exit code 1 -->

```console
$ one \\
    more
output
$ two
```

*Not run in our tests:
it cannot.*

```console
$ three
```

<!-- run in the background, until: four -->

```console
$ five
```

<!-- run, again until it succeeds -->

```console
$ six
```
"""


def test_each_console_says_whether_it_is_run_and_a_test_that_runs_it_names_its_program():
    assert list(consoles_of(page("docs/operate.md")))
    for console in consoles_of(page("docs/logs-shipping.md")):
        assert console.by is not None
        text = (ROOT / console.by).read_text()
        for command in console.commands:
            assert Path(command.split()[0]).name in text


def test_marks_are_understood():
    assert list(consoles_of(MARKED)) == [
        Console(4, ["one \\\n    more", "two"], True, exit_code=1),
        Console(14, ["three"], False),
        Console(20, ["five"], True, until="four"),
        Console(26, ["six"], True, patiently=True),
    ]


@pytest.mark.parametrize("mark", ["", "<!-- run quickly -->\n\n"])
def test_a_console_without_a_mark_that_is_understood_is_found(mark):
    with pytest.raises(AssertionError, match="line"):
        list(consoles_of(f"{mark}```console\n$ x\n```\n"))
