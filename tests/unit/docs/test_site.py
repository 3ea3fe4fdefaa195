"""The documentation site contains every page, with working links and diagrams; `make docs` builds it."""

import re
from collections.abc import Iterator
from typing import Any

import pytest
import yaml

from tests.support.pages import PAGES, blocks_of, name_of
from tools.docs_site.offline import loaded_by_page, loaded_by_style
from tools.docs_site.paths import DOCS, ROOT, for_site, linked_files, site_path

CONFIG = yaml.safe_load((ROOT / "mkdocs.yml").read_text())

BEFORE = """\
[one](tasks.md#a) [two](../CHANGELOG.md#b) [three](../tests/x.py) [four](#c) [five](https://example.org/d.md)
`[code](../tests/x.py)` ![picture](images/p.png) [mail](mailto:a@example.org)

```python
handlers[name](event)
```

```mermaid
a --> b
```
"""
AFTER = """\
[one](tasks.md#a) [two](CHANGELOG.md#b) [three](tests/x.py.md) [four](#c) [five](https://example.org/d.md)
`[code](../tests/x.py)` ![picture](images/p.png) [mail](mailto:a@example.org)

```python
handlers[name](event)
```

PICTURE
"""


def pages_in(nav: list[Any]) -> Iterator[str]:
    """Yield the pages of a navigation and of its sections."""
    for entry in nav:
        for target in entry.values():
            yield from pages_in(target) if isinstance(target, list) else [target]


def test_the_navigation_has_every_page_once():
    listed = sorted(pages_in(CONFIG["nav"]))

    assert listed == sorted([*map(site_path, map(name_of, PAGES)), "LICENSE.md"])


def test_links_to_other_files_lead_to_pages_of_the_site_and_code_stays():
    assert for_site("docs/page.md", BEFORE, "PICTURE") == AFTER


@pytest.mark.parametrize(
    ("page", "link", "on_site"),
    [
        ("README.md", "docs/tasks.md#a", "tasks.md#a"),
        ("README.md", "LICENSE", "LICENSE.md"),
        ("grafana/README.md", "../docs/runbooks.md", "../runbooks.md"),
        ("grafana/README.md", "alerts/alerts.yaml", "alerts/alerts.yaml.md"),
    ],
)
def test_a_link_is_relative_to_the_place_of_its_page_on_the_site(page, link, on_site):
    assert for_site(page, f"[x]({link})", "") == f"[x]({on_site})"


def test_the_files_that_a_page_links_to_are_shown():
    assert list(linked_files("docs/page.md", BEFORE)) == [
        "docs/tasks.md", "CHANGELOG.md", "tests/x.py", "docs/images/p.png",
    ]  # fmt: skip


def test_each_diagram_has_a_picture_with_the_same_words():
    with_diagram = [
        (path, block.text)
        for path in PAGES
        for block in blocks_of(path.read_text())
        if block.kind == "mermaid"
    ]

    for path, text in with_diagram:
        picture = (ROOT / DOCS / "images" / f"{path.stem}.svg").read_text()
        words = {word for line in text.splitlines()[1:] for word in re.split(r"-->|: ", line.strip())}

        assert {word.strip() for word in words} - {"[*]"} == set(re.findall(r">([^<>\n]+)</text>", picture))
    assert len(with_diagram) == len({path for path, _ in with_diagram}) == 1, "one diagram on each page"


@pytest.mark.parametrize(
    ("text", "found"),
    [
        ('<script async src="https://cdn.example/x.js"></script>', ["https://cdn.example/x.js"]),
        ('<img alt="" src=//example.org/p.png>', ["//example.org/p.png"]),
        ('<link href="https://fonts.example/a.css" rel="stylesheet">', ["https://fonts.example/a.css"]),
        ('<LINK rel="shortcut icon" href="https://x.example/i.png">', ["https://x.example/i.png"]),
        ('<img srcset="https://x.example/2.png 2x">', ["https://x.example/2.png"]),
        ('<svg><image href="https://x.example/d.svg"/></svg>', ["https://x.example/d.svg"]),
        ("<p>Use <code>url(https://example.org/)</code>.</p>", []),
        ('<a href="https://pypi.org/">PyPI</a> <link rel="canonical" href="https://example.org/">', []),
        ('<script src="assets/x.js"></script><link rel="stylesheet" href="../site.css">', []),
    ],
)  # fmt: skip
def test_what_a_page_loads_from_other_servers_is_found(text: str, found: list[str]):
    assert loaded_by_page(text) == found


def test_the_style_sheet_loads_nothing_from_other_servers():
    [sheet] = CONFIG["extra_css"]
    foreign = "@import 'https://fonts.example/a.css'; b { background: url(//x.example/y) }"

    assert loaded_by_style((ROOT / DOCS / sheet).read_text()) == []
    assert loaded_by_style(foreign) == ["https://fonts.example/a.css", "//x.example/y"]
