"""Prometheus 3 reads a manager's metrics: OpenMetrics 2.0 is not offered, and first failures count."""

import json
import subprocess
import urllib.request
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any, Final

import pytest

from tests.real_parts.live_stack import LOAD, Manager
from tests.real_parts.servers import HOST, free_port, get, program
from tests.support.child import Child
from tests.support.commands import python
from tests.support.waiting import wait_until

FAILURES: Final = 20
NEWEST_FIRST: Final = ["OpenMetricsText2.0.0", "OpenMetricsText1.0.0"]

Watch = Callable[..., str]


def job(name: str, port: int, **more: Any) -> dict[str, Any]:
    return {"job_name": name, "static_configs": [{"targets": [f"{HOST}:{port}"]}], **more}


def configured(folder: Path, *jobs: dict[str, Any]) -> Path:
    file = folder / "prometheus.json"
    every = {"scrape_interval": "1s", "scrape_timeout": "1s"}
    file.write_text(json.dumps({"global": every, "scrape_configs": list(jobs)}))
    return file


@pytest.fixture
def watch(tmp_path: Path) -> Iterator[Watch]:
    """Return a function that starts Prometheus 3 with scrape jobs, and returns its URL."""
    file = configured(tmp_path, job("newest", 1, scrape_protocols=NEWEST_FIRST))
    check = [program("promtool"), "check", "config", str(file)]
    if subprocess.run(check, capture_output=True, check=False).returncode:
        pytest.skip("the installed Prometheus does not offer OpenMetrics 2.0: put Prometheus 3 first in PATH")
    with ExitStack() as closing:

        def watch(*jobs: dict[str, Any]) -> str:
            address = f"{HOST}:{free_port()}"
            command = [
                program("prometheus"),
                f"--config.file={configured(tmp_path, *jobs)}",
                f"--storage.tsdb.path={tmp_path / 'tsdb'}",
                f"--web.listen-address={address}",
                "--enable-feature=created-timestamp-zero-ingestion",
            ]
            prometheus = Child("prometheus", command, tmp_path)
            closing.callback(prometheus.stop)
            prometheus.wait_until_it_answers(f"http://{address}/-/ready")
            return f"http://{address}"

        yield watch


def values(url: str, expression: str) -> dict[str, float]:
    """Return the values of an instant query by job."""
    found = get(f"{url}/api/v1/query", query=expression)["data"]["result"]
    return {series["metric"].get("job", ""): float(series["value"][1]) for series in found}


def test_the_target_is_up_and_what_failed_before_the_first_scrape_counts(
    watch: Watch, env: dict[str, str], tmp_path: Path
) -> None:
    python("-m", LOAD, "Fail", str(FAILURES), env=env).check_returncode()
    manager = Manager("failing", 1, free_port(), tmp_path, {**env, "TEST_METRICS_CREATED": "yes"})
    try:
        failed = (
            f'partisan_tasks_failed_total{{processor="Fail",queue="failing",reason="error"}} {FAILURES}.0'
        )
        metrics = f"http://{HOST}:{manager.port}/metrics"
        wait_until(lambda: failed in _text(metrics), what=failed)
        url = watch(job("default", manager.port), job("newest", manager.port, scrape_protocols=NEWEST_FIRST))
        increase = 'increase(partisan_tasks_failed_total{reason="error"}[5m])'
        wait_until(lambda: values(url, increase).keys() == {"default", "newest"}, what="two scrapes")

        assert values(url, "up") == {"default": 1, "newest": 1}
        assert values(url, increase) == {
            "default": pytest.approx(FAILURES, rel=0.2),
            "newest": pytest.approx(FAILURES, rel=0.2),
        }
    finally:
        manager.stop()


def _text(url: str) -> str:
    with urllib.request.urlopen(url, timeout=10) as response:
        text: str = response.read().decode()
    return text
