"""Filebeat and the Collector store each line once, whatever fails: shipped recipes, real programs.

The server is an OpenSearch behind a proxy that answers the first requests as Elasticsearch does.
"""

import json
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.real_parts.elastic_proxy import ElasticProxy
from tests.real_parts.elastic_shippers import (
    FILEBEAT_IS_THERE,
    OTELCOL_IS_THERE,
    Collector,
    ElasticStream,
    Filebeat,
    lines_fields,
)
from tests.real_parts.log_path import OUTAGE_SECONDS, LogPath, log_path
from tests.real_parts.opensearch import DataStream, OpenSearch
from tests.support.tcp_proxy import TcpProxy
from tests.support.waiting import let_pass, wait_until

DELIVERY_SECONDS = 60
LINE = {
    "@timestamp": "2026-11-24T08:00:00.000Z",
    "log.level": "info",
    "message": "good " * 40,
    "ecs.version": "9.4.0",
    "event.id": "1",
}
CONFLICT = {**LINE, "event.id": "2", "partisan.task.wait_ns": "soon"}
LONGEST = 200_000
SHIPPERS = [
    pytest.param(Filebeat, id="filebeat", marks=FILEBEAT_IS_THERE),
    pytest.param(Collector, id="collector", marks=OTELCOL_IS_THERE),
]


@pytest.fixture
def proxy(opensearch: OpenSearch) -> Iterator[ElasticProxy]:
    """The server as Elastic clients see it."""
    with ElasticProxy(opensearch.port) as made:
        yield made


@pytest.fixture
def target(proxy: ElasticProxy, data_stream: DataStream) -> Iterator[ElasticStream]:
    """The data stream of one test, and the one for lines that it refuses."""
    with TcpProxy(proxy.port) as way:
        made = ElasticStream(data_stream, way)
        yield made
        made.refused.remove()


@pytest.fixture(params=SHIPPERS)
def path(
    request: pytest.FixtureRequest, tmp_path: Path, env: dict[str, str], target: ElasticStream
) -> Iterator[LogPath]:
    """The log path of one test, for each shipper."""
    kind: type[Filebeat | Collector] = request.param
    with log_path(tmp_path, env, target, lambda folder, to: kind(folder, to.url, to.stream)) as running:
        yield running


def assert_each_line_is_one_document(path: LogPath) -> None:
    path.wait_for_delivery()
    assert path.target.stored() == path.lines()


@pytest.mark.parametrize("how", ["stopped", "killed"])
def test_nothing_is_lost_or_doubled_when_the_shipper_is_away_during_a_rotation(
    path: LogPath, how: str
) -> None:
    path.start_manager("locked")
    path.enqueue("Touch", 200)
    wait_until(path.target.ids, DELIVERY_SECONDS, path.shipper.log_end, every=0.2)

    path.shipper.kill() if how == "killed" else path.shipper.stop()
    path.enqueue("Touch", 50)
    path.rotate_under_load()
    path.wait_for_lines("task.completed", path.enqueued)
    path.start_shipper()

    assert_each_line_is_one_document(path)


def test_nothing_is_lost_or_doubled_over_an_outage_a_rotation_a_stop_and_a_crash(
    path: LogPath, target: ElasticStream
) -> None:
    path.start_manager("locked")
    path.enqueue("Touch", 200)
    wait_until(path.target.ids, DELIVERY_SECONDS, path.shipper.log_end, every=0.2)

    # The server accepts these requests, but the shipper gets no answer.
    target.way.drop_answers(b"_bulk", 2)
    path.enqueue("Touch", 100)
    wait_until(lambda: target.way.lost == 2, DELIVERY_SECONDS, path.shipper.log_end, every=0.2)
    target.way.mode = "reset"
    path.enqueue("Touch", 100)
    path.rotate_under_load()
    let_pass(OUTAGE_SECONDS / 2)
    path.shipper.stop(seconds=3)  # stopped normally; killed if it waits for the server
    path.start_shipper()
    path.enqueue("Touch", 50)
    let_pass(OUTAGE_SECONDS / 2)
    path.wait_for_lines("task.completed", path.enqueued)
    target.way.mode = "pass"

    assert_each_line_is_one_document(path)


def test_odd_lines_are_stored_once_too(path: LogPath, target: ElasticStream) -> None:
    big = {**LINE, "event.id": "2", "event.duration": 2**53 + 1, "partisan.task.wait_ns": 2**62 + 1}
    longest = {**LINE, "event.id": "3", "error.stack_trace": "x" * LONGEST}
    lines = [json.dumps(line) for line in (LINE, big, longest)]

    target.way.drop_answers(b"_bulk")  # so that everything is sent again
    path.log.write_text("".join(f"{line}\n" for line in ["no json", *lines, "no json"]))
    wait_until(lambda: path.target.ids() >= {"1", "2", "3"}, DELIVERY_SECONDS, path.shipper.log_end, 0.2)
    wait_until(lambda: target.way.lost, DELIVERY_SECONDS, path.shipper.log_end, every=0.2)
    with path.log.open("a") as log:
        log.write(f"{json.dumps({**LINE, 'event.id': '4'})}\n")
    wait_until(lambda: "4" in target.ids(), DELIVERY_SECONDS, path.shipper.log_end, every=0.2)

    assert target.stored() == {"1": LINE, "2": big, "3": longest, "4": {**LINE, "event.id": "4"}}
    others = [document for document in target.documents() if "event.id" not in document]
    assert [(other["message"], other["error.type"]) for other in others] == [("no json", "json")] * 2


@pytest.mark.parametrize("path", SHIPPERS[:1], indirect=True)
def test_filebeat_reads_a_file_of_two_lines_and_keeps_the_refused_one_with_the_reason(
    path: LogPath, target: ElasticStream
) -> None:
    path.log.write_text(f"{json.dumps(CONFLICT)}\n{json.dumps(LINE)}\n")

    [kept] = wait_until(target.refused.stored, DELIVERY_SECONDS, path.shipper.log_end, 0.2).values()
    wait_until(target.ids, DELIVERY_SECONDS, path.shipper.log_end, every=0.2)

    assert target.stored() == {"1": LINE}
    assert lines_fields(json.loads(kept["message"])) == CONFLICT
    assert kept["error.type"] == 400
    assert "partisan.task.wait_ns" in kept["error.message"]


@pytest.mark.parametrize("path", SHIPPERS[1:], indirect=True)
def test_the_collector_logs_why_a_line_was_refused(path: LogPath, target: ElasticStream) -> None:
    path.log.write_text(f"{json.dumps(CONFLICT)}\n{json.dumps(LINE)}\n")

    wait_until(target.ids, DELIVERY_SECONDS, path.shipper.log_end, every=0.2)

    assert target.stored() == {"1": LINE}
    wait_until(
        lambda: "failed to parse field [partisan.task.wait_ns]" in path.shipper.log_end(),
        DELIVERY_SECONDS,
        path.shipper.log_end,
    )


def test_lines_wait_while_the_key_is_expired(
    path: LogPath, target: ElasticStream, proxy: ElasticProxy
) -> None:
    proxy.denies = True
    path.log.write_text(f"{json.dumps(LINE)}\n")
    wait_until(lambda: proxy.denied > 1, DELIVERY_SECONDS, path.shipper.log_end, every=0.2)

    proxy.denies = False
    wait_until(target.ids, DELIVERY_SECONDS, path.shipper.log_end, every=0.2)

    assert target.stored() == {"1": LINE}


def test_lines_that_a_write_block_refuses_are_stored_later_or_beside(
    path: LogPath, target: ElasticStream, data_stream: DataStream
) -> None:
    second = {**LINE, "event.id": "2"}
    path.log.write_text(f"{json.dumps(LINE)}\n")
    wait_until(target.ids, DELIVERY_SECONDS, path.shipper.log_end, every=0.2)

    before = data_stream.server.refused()
    data_stream.block_writes(True)
    with path.log.open("a") as log:
        log.write(f"{json.dumps(second)}\n")
    wait_until(
        lambda: data_stream.server.refused() > before, DELIVERY_SECONDS, path.shipper.log_end, every=0.2
    )
    data_stream.block_writes(False)

    def beside() -> list[dict[str, object]]:
        return [lines_fields(json.loads(kept["message"])) for kept in target.refused.stored().values()]

    wait_until(lambda: "2" in target.ids() or beside(), DELIVERY_SECONDS, path.shipper.log_end, every=0.2)
    if isinstance(path.shipper, Filebeat):
        assert (target.stored(), beside()) == ({"1": LINE}, [second])
    else:
        assert (target.stored(), beside()) == ({"1": LINE, "2": second}, [])
