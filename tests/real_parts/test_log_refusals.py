"""Lines are kept while the server answers with errors: a real manager, a real rsyslog, a stand-in server.

The stand-in gives answers that a real server does not give on demand; `test_log_shipping.py` uses a real one.
"""

import json
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.real_parts.log_path import ELK, LogPath, log_path
from tests.support.commands import run
from tests.support.waiting import wait_until
from tools.bulk_endpoint import BulkEndpoint, Mode

RESEND = str(ELK / "rsyslog" / "resend.sh")


@pytest.fixture
def endpoint() -> Iterator[BulkEndpoint]:
    """A stand-in server that accepts everything."""
    with BulkEndpoint() as made:
        yield made


@pytest.fixture
def path(tmp_path: Path, env: dict[str, str], endpoint: BulkEndpoint) -> Iterator[LogPath]:
    """The log path of one test, with one manager."""
    with log_path(tmp_path, env, endpoint) as running:
        running.start_manager("locked")
        yield running


def test_what_a_full_queue_refuses_is_sent_again_until_it_is_taken(
    path: LogPath, endpoint: BulkEndpoint
) -> None:
    endpoint.mode = "429"
    path.enqueue("Touch", 150)
    path.wait_for_lines("task.completed", 150)
    wait_until(lambda: endpoint.throttled > 75, 30, "refusals")

    endpoint.mode = "accept"

    path.wait_for_delivery()
    assert endpoint.documents == path.lines()


@pytest.mark.parametrize("mode", ["503", "401"])
def test_a_request_that_is_refused_as_a_whole_is_kept_and_can_be_sent_again(
    path: LogPath, endpoint: BulkEndpoint, mode: Mode
) -> None:
    kept = path.log.with_name("not_sent")
    endpoint.mode = mode
    path.enqueue("Touch", 30)
    path.wait_for_lines("task.completed", 30)
    wait_until(kept.exists, 30, "the batch is kept")

    endpoint.mode = "accept"
    path.enqueue("Touch", 5)
    path.wait_for_lines("task.completed", 35)
    wait_until(lambda: endpoint.documents, 30, "later lines")
    path.run(RESEND, endpoint.url, str(kept), str(path.folder / "rsyslog.pid"))

    path.wait_for_delivery()
    assert endpoint.documents == path.lines()
    assert list(kept.parent.glob("not_sent*")) == []
    assert not kept.with_name("refused").exists()


def test_one_request_that_is_refused_again_does_not_hold_up_the_others(
    tmp_path: Path, endpoint: BulkEndpoint
) -> None:
    kept = tmp_path / "not_sent"
    requests = [request_of("logs-other-default", "1"), request_of(endpoint.stream, "2")]
    kept.write_text("".join(json.dumps({"request": {"postdata": each}}) + "\n" for each in requests))
    with subprocess.Popen(["sleep", "60"]) as rsyslog:
        (tmp_path / "pid").write_text(str(rsyslog.pid))
        done = run(RESEND, f"{endpoint.url}/", str(kept), str(tmp_path / "pid"), "--header", "X-Key: secret")

    [left] = tmp_path.glob("not_sent.*")
    assert done.returncode == 1
    assert f"1 requests stay in {left}" in done.stderr
    assert json.loads(left.read_text())["request"]["postdata"] == requests[0]
    assert endpoint.ids() == {"2"}
    assert endpoint.headers["X-Key"] == "secret"


def request_of(stream: str, key: str) -> str:
    return f"{json.dumps({'create': {'_index': stream, '_id': key}})}\n{json.dumps({'message': 'x'})}\n"
