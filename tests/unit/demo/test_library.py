"""The demo reads the standard library, even from several threads of its HTTP server."""

import ast
import time
from concurrent.futures import ThreadPoolExecutor
from typing import Any

from demo import library

PACKAGES = ["bisect", "keyword", "stat", "string"]


def test_threads_parse_one_after_the_other(monkeypatch):
    """Before 3.11.5, CPython counts the depth of a tree for all threads: two at a time get a SystemError."""
    parse, most = ast.parse, 0
    active: list[None] = []

    def watched(*args: Any, **kwargs: Any) -> Any:
        nonlocal most
        active.append(None)
        most = max(most, len(active))
        time.sleep(0.005)  # gives the other threads time to enter
        active.pop()
        return parse(*args, **kwargs)

    monkeypatch.setattr(ast, "parse", watched)
    alone = [library.summary_of(name) for name in PACKAGES]

    with ThreadPoolExecutor(4) as pool:
        together = list(pool.map(library.summary_of, PACKAGES))

    assert together == alone
    assert most == 1
