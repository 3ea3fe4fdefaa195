"""The memory limit that would be reached first applies; an unreadable file sets no limit."""

from pathlib import Path
from types import SimpleNamespace

import pytest

from django_partisan.metrics.gauges import of_memory
from django_partisan.metrics.memory import Memory, memory

from .conftest import snapshot

MEMINFO = "MemTotal:       16384 kB\nMemFree:          100 kB\nMemAvailable:     6144 kB\n"
HOST = Memory(16384 * 1024, 10240 * 1024)


def files(root: Path, texts: dict[str, str]) -> Path:
    """Write files below ``root``, and return it."""
    for name, text in texts.items():
        file = root / name
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(text)
    return root


def test_without_a_limit_it_is_the_memory_of_the_host(tmp_path: Path) -> None:
    root = files(
        tmp_path,
        {
            "proc/meminfo": MEMINFO,
            "proc/self/cgroup": "0::/\n",
            "sys/fs/cgroup/memory.max": "max\n",
            "sys/fs/cgroup/memory.current": "77\n",
        },
    )

    assert memory(root) == HOST


@pytest.mark.parametrize("group", ["", "a.slice/", "a.slice/b.service/"])
def test_a_limit_of_our_control_group_or_of_one_above_it_counts_without_what_the_kernel_can_drop(
    tmp_path: Path, group: str
) -> None:
    root = files(
        tmp_path,
        {
            "proc/meminfo": MEMINFO,
            "proc/self/cgroup": "0::/a.slice/b.service\n",
            f"sys/fs/cgroup/{group}memory.max": "4096\n",
            f"sys/fs/cgroup/{group}memory.current": "3000\n",
            f"sys/fs/cgroup/{group}memory.stat": "anon 1\ninactive_file 1000\nactive_file 5\n",
        },
    )

    assert memory(root) == Memory(4096, 2000)


@pytest.mark.parametrize(
    ("slice_limit", "slice_used"),
    [(4096, 4000), (4200, 4100)],
    ids=["with the same limit", "with a higher limit"],
)
def test_a_group_above_us_that_is_nearly_full_counts(
    tmp_path: Path, slice_limit: int, slice_used: int
) -> None:
    root = files(
        tmp_path,
        {
            "proc/meminfo": MEMINFO,
            "proc/self/cgroup": "0::/a.slice/b.service\n",
            "sys/fs/cgroup/a.slice/memory.max": f"{slice_limit}\n",
            "sys/fs/cgroup/a.slice/memory.current": f"{slice_used}\n",
            "sys/fs/cgroup/a.slice/b.service/memory.max": "4096\n",
            "sys/fs/cgroup/a.slice/b.service/memory.current": "1000\n",
        },
    )

    assert memory(root) == Memory(slice_limit, slice_used)


def test_a_host_that_is_nearly_full_counts_though_the_limit_of_our_group_is_less(tmp_path: Path) -> None:
    root = files(
        tmp_path,
        {
            "proc/meminfo": "MemTotal: 16384 kB\nMemAvailable: 1 kB\n",
            "proc/self/cgroup": "0::/\n",
            "sys/fs/cgroup/memory.max": "4096\n",
            "sys/fs/cgroup/memory.current": "1000\n",
        },
    )

    assert memory(root) == Memory(16384 * 1024, 16383 * 1024)


def test_a_limit_of_version_1_counts(tmp_path: Path) -> None:
    root = files(
        tmp_path,
        {
            "proc/meminfo": MEMINFO,
            "proc/self/cgroup": "4:memory:/docker/17\n",
            "sys/fs/cgroup/memory/memory.limit_in_bytes": "4096\n",
            "sys/fs/cgroup/memory/memory.usage_in_bytes": "3000\n",
        },
    )

    assert memory(root) == Memory(4096, 3000)


def test_where_nothing_is_known_there_is_no_memory_to_tell_of(tmp_path: Path) -> None:
    assert memory(tmp_path) is None


@pytest.mark.parametrize(("found", "values"), [(Memory(4096, 2000), [4096, 2000]), (None, [])])
def test_memory_is_exported_where_it_is_known(
    state: SimpleNamespace, found: Memory | None, values: list[int]
) -> None:
    assert [value for _, _, value in of_memory(snapshot(state), found)] == values
