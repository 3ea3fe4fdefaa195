"""Log lines reach Elasticsearch once each, whatever fails between: real managers, real rsyslog.

The endpoint is a stand-in: it types every field by ECS and by our templates, and searches nothing.
"""

import json
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.real_parts.log_path import LogPath, log_path, recipe, rsyslogd
from tests.support.waiting import wait_until

STREAM = "logs-partisan.events-default"


@pytest.fixture
def path(tmp_path: Path, env: dict[str, str]) -> Iterator[LogPath]:
    """A log path of a test's own."""
    with log_path(tmp_path, env) as running:
        yield running


def assert_each_line_is_one_document(path: LogPath) -> None:
    path.wait_for_delivery()
    assert path.endpoint.refused == []
    assert path.endpoint.streams == {STREAM}
    assert path.endpoint.documents == path.lines()


def test_rsyslog_finds_no_fault_in_the_recipe(tmp_path: Path) -> None:
    (tmp_path / "spool").mkdir()
    config = tmp_path / "rsyslog.conf"
    config.write_text(recipe(tmp_path, 9200))

    checked = subprocess.run([rsyslogd(), "-N1", "-f", str(config)], capture_output=True, text=True)

    assert checked.returncode == 0
    assert "error" not in checked.stderr
    assert "warning" not in checked.stderr


def test_each_line_is_one_document_and_no_field_conflicts(path: LogPath) -> None:
    path.enqueue("Touch", 40)
    path.enqueue("Fail", 5)
    path.enqueue("Crash", 1)
    managers = [path.start_manager(queue) for queue in ("locked", "failing", "crashing")]

    path.wait_for_lines("task.completed", 40)
    path.wait_for_lines("task.failed", 6)
    for manager in managers:
        manager.stop()

    assert_each_line_is_one_document(path)
    actions = {document["event.action"] for document in path.endpoint.documents.values()}
    assert {"manager.started", "worker.exited", "task.rescued", "manager.stopped"} <= actions
    assert {document["service.name"] for document in path.endpoint.documents.values()} == {"shop"}


def test_nothing_is_lost_when_the_file_is_rotated_under_load(path: LogPath) -> None:
    path.start_manager("locked")
    path.enqueue("Touch", 200)
    path.wait_for_lines("task.completed", 100)

    path.rotate()
    wait_until(lambda: _more_work(path), 30, "the new file", every=0.1)
    path.wait_for_lines("task.completed", path.enqueued)

    assert_each_line_is_one_document(path)


def test_nothing_is_lost_while_the_endpoint_is_down(path: LogPath) -> None:
    path.start_manager("locked")
    path.enqueue("Touch", 50)
    path.wait_for_delivery()

    path.endpoint.become("down")
    path.enqueue("Touch", 150)
    path.wait_for_lines("task.completed", 200)
    wait_until(lambda: "suspending" in path.shipper.last_words(), 30, "rsyslog notices", every=0.1)
    path.endpoint.become("accept")

    assert_each_line_is_one_document(path)


def test_what_a_full_queue_refuses_is_sent_again_until_it_is_taken(path: LogPath) -> None:
    path.endpoint.become("429")
    path.start_manager("locked")
    path.enqueue("Touch", 150)
    path.wait_for_lines("task.completed", 150)
    wait_until(lambda: path.endpoint.throttled > 75, 30, "refusals")

    path.endpoint.become("accept")

    assert_each_line_is_one_document(path)


@pytest.mark.parametrize("how", ["stopped", "killed"])
def test_nothing_is_lost_or_doubled_when_rsyslog_is_away_during_a_rotation(path: LogPath, how: str) -> None:
    path.start_manager("locked")
    path.enqueue("Touch", 100)
    path.wait_for_lines("task.completed", 50)

    path.shipper.kill() if how == "killed" else path.shipper.stop()
    path.enqueue("Touch", 50)
    path.wait_for_lines("task.completed", 150)
    path.rotate()
    wait_until(lambda: _more_work(path), 30, "the new file", every=0.1)
    path.start_shipper()

    assert_each_line_is_one_document(path)


def test_an_answer_of_503_is_kept_and_can_be_sent_again(path: LogPath) -> None:
    kept = path.log.with_name("not_sent")
    path.endpoint.become("503")
    path.start_manager("locked")
    path.enqueue("Touch", 30)
    path.wait_for_lines("task.completed", 30)
    wait_until(kept.exists, 30, "the batch is kept")

    path.endpoint.become("accept")
    path.enqueue("Touch", 5)
    path.wait_for_lines("task.completed", 35)
    wait_until(lambda: path.endpoint.documents, 30, "later lines")
    path.run("elk/rsyslog/resend.sh", path.endpoint.url, str(kept), str(path.shipper.pidfile))

    assert_each_line_is_one_document(path)
    assert list(kept.parent.glob("not_sent*")) == []


def test_what_can_never_be_stored_is_kept_aside_and_stops_nothing(path: LogPath) -> None:
    good = {"@timestamp": "2026-11-24T08:00:00.000Z", "message": "good", "event.id": "1"}
    conflict = {**good, "event.id": "2", "partisan.task.wait_ns": "soon"}
    path.log.write_text(f"no json\n{json.dumps(conflict)}\n{json.dumps(good)}\n")
    folder = path.log.parent

    wait_until(lambda: "1" in path.endpoint.documents, 30, "the good line")
    wait_until(lambda: (folder / "unparsed").exists() and (folder / "refused").exists(), 30)

    assert (folder / "unparsed").read_text() == "no json\n"
    refused = json.loads((folder / "refused").read_text())
    assert refused["document"] == conflict
    assert refused["reply"]["error"]["type"] == "document_parsing_exception"


def _more_work(path: LogPath) -> bool:
    path.enqueue("Touch", 10)  # each process looks once a second, and only when it has a line to write
    return path.log.exists()
