"""The least of what limits memory counts, and what cannot be read limits nothing."""

from pathlib import Path
from types import SimpleNamespace

import pytest

from django_partisan.metrics.gauges import of_memory
from django_partisan.metrics.memory_limit import memory_limit

from .conftest import snapshot

MEMINFO = "MemTotal:       16384 kB\nMemFree:        100 kB\n"
HOST = 16384 * 1024


def files(root: Path, **texts: str) -> Path:
    """Write files below ``root``; ``__`` in a name stands for ``/``."""
    for name, text in texts.items():
        file = root / name.replace("__", "/")
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(text)
    return root


def test_without_a_limit_it_is_the_memory_of_the_host(tmp_path: Path) -> None:
    root = files(tmp_path, proc__meminfo=MEMINFO, proc__self__cgroup="0::/\n")
    files(root / "sys/fs/cgroup", **{"memory.max": "max\n"})

    assert memory_limit(root) == HOST


@pytest.mark.parametrize(
    ("place", "limit"),
    [("memory.max", 1024), ("a.slice/memory.max", 2048), ("a.slice/b.service/memory.max", 4096)],
)
def test_a_limit_of_our_control_group_or_of_one_above_it_counts(
    tmp_path: Path, place: str, limit: int
) -> None:
    root = files(tmp_path, proc__meminfo=MEMINFO, proc__self__cgroup="0::/a.slice/b.service\n")
    files(root / "sys/fs/cgroup", **{place: f"{limit}\n"})

    assert memory_limit(root) == limit


def test_a_limit_of_version_1_counts(tmp_path: Path) -> None:
    root = files(tmp_path, proc__meminfo=MEMINFO, proc__self__cgroup="4:memory:/docker/17\n")
    files(root / "sys/fs/cgroup", **{"memory/memory.limit_in_bytes": "4096\n"})

    assert memory_limit(root) == 4096


def test_where_nothing_is_known_there_is_no_limit(tmp_path: Path) -> None:
    assert memory_limit(tmp_path) is None


@pytest.mark.parametrize(("limit", "values"), [(4096, [4096]), (None, [])])
def test_a_limit_is_exported_where_it_is_known(
    state: SimpleNamespace, limit: int | None, values: list[int]
) -> None:
    assert [value for _, _, value in of_memory(snapshot(state), limit)] == values
