"""Each log line reaches a real OpenSearch once, whatever fails: real managers, a real rsyslog."""

import json
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.real_parts.log_path import OUTAGE_SECONDS, LogPath, log_path, recipe, rsyslogd
from tests.real_parts.opensearch import DataStream
from tests.support.waiting import let_pass, wait_until


@pytest.fixture
def path(tmp_path: Path, env: dict[str, str], data_stream: DataStream) -> Iterator[LogPath]:
    """The log path of one test."""
    with log_path(tmp_path, env, data_stream) as running:
        yield running


def assert_each_line_is_one_document(path: LogPath) -> None:
    path.wait_for_delivery()
    assert path.target.stored() == path.lines()
    assert {file.name for file in path.log.parent.iterdir()} <= {"partisan.log", "partisan.log.1"}


def test_rsyslog_finds_no_fault_in_the_recipe(tmp_path: Path) -> None:
    (tmp_path / "spool").mkdir()
    config = tmp_path / "rsyslog.conf"
    config.write_text(recipe(tmp_path, 9200))

    checked = subprocess.run([rsyslogd(), "-N1", "-f", str(config)], capture_output=True, text=True)

    assert checked.returncode == 0
    assert "error" not in checked.stderr
    assert "warning" not in checked.stderr


def test_nothing_is_lost_while_the_server_is_dead_the_file_rotated_and_rsyslog_killed(
    path: LogPath, data_stream: DataStream
) -> None:
    path.start_manager("locked")
    path.enqueue("Touch", 300)
    path.wait_for_lines("task.completed", 100)

    data_stream.server.kill()
    path.enqueue("Touch", 150)
    path.rotate_under_load()
    wait_until(lambda: "suspending" in path.shipper.log_end(), 30, "rsyslog notices", every=0.1)
    # rsyslog has saved its position in the new file, although nothing of that file has been sent.
    wait_until(lambda: list((path.folder / "spool").glob("imfile-state*")), 30, "a note of the new file")
    path.shipper.kill()
    path.start_shipper()
    let_pass(OUTAGE_SECONDS)
    path.enqueue("Touch", 50)
    data_stream.server.start()
    path.enqueue("Touch", 50)
    path.wait_for_lines("task.completed", path.enqueued)

    assert_each_line_is_one_document(path)


@pytest.mark.parametrize("how", ["stopped", "killed"])
def test_nothing_is_lost_or_doubled_when_rsyslog_is_away_during_a_rotation(path: LogPath, how: str) -> None:
    path.start_manager("locked")
    path.enqueue("Touch", 100)
    path.wait_for_lines("task.completed", 50)

    path.shipper.kill() if how == "killed" else path.shipper.stop()
    path.enqueue("Touch", 50)
    path.wait_for_lines("task.completed", 150)
    path.rotate_under_load()
    path.start_shipper()

    assert_each_line_is_one_document(path)


def test_lines_that_a_write_block_refuses_are_stored_when_it_ends(
    path: LogPath, data_stream: DataStream
) -> None:
    path.start_manager("locked")
    path.enqueue("Touch", 5)
    path.wait_for_lines("task.completed", 5)
    path.wait_for_delivery()

    before = data_stream.server.refused()
    data_stream.block_writes(True)
    path.enqueue("Touch", 50)
    path.wait_for_lines("task.completed", 55)
    wait_until(lambda: data_stream.server.refused() > before + 50, 30, "refusals", every=0.1)
    data_stream.block_writes(False)

    assert_each_line_is_one_document(path)


def test_what_can_never_be_stored_is_kept_aside_and_stops_nothing(path: LogPath) -> None:
    good = {"@timestamp": "2026-11-24T08:00:00.000Z", "message": "good", "event.id": "1"}
    conflict = {**good, "event.id": "2", "partisan.task.wait_ns": "soon"}
    path.log.write_text(f"no json\n{json.dumps(conflict)}\n{json.dumps(good)}\n")
    folder = path.log.parent

    wait_until(lambda: "1" in path.target.ids(), 30, "the good line")
    wait_until(lambda: (folder / "unparsed").exists() and (folder / "refused").exists(), 30)

    assert (folder / "unparsed").read_text() == "no json\n"
    refused = json.loads((folder / "refused").read_text())
    assert refused["document"] == conflict
    assert refused["reply"]["error"]["type"] == "mapper_parsing_exception"
    assert path.target.stored() == {"1": good}
