"""The stand-in for Elasticsearch stores documents, and fails as a real server does."""

import json
import urllib.error
import urllib.request
from collections.abc import Iterator
from typing import Any

import pytest

from tools.bulk_endpoint import BulkEndpoint

GOOD = {"@timestamp": "2026-11-24T08:00:00.000Z", "message": "hello"}


@pytest.fixture
def endpoint() -> Iterator[BulkEndpoint]:
    with BulkEndpoint() as made:
        yield made


def ask(url: str, body: bytes) -> Any:
    with urllib.request.urlopen(urllib.request.Request(url, body), timeout=10) as response:
        assert response.headers["X-Elastic-Product"] == "Elasticsearch"
        return json.load(response)


def write(endpoint: BulkEndpoint, *keys: str, stream: str | None = None) -> list[int]:
    heads = [{"create": {"_index": stream or endpoint.stream, "_id": key}} for key in keys]
    body = "".join(f"{json.dumps(head)}\n{json.dumps(GOOD)}\n" for head in heads).encode()
    answer = ask(f"{endpoint.url}/_bulk", body)
    statuses = [item["create"]["status"] for item in answer["items"]]
    assert answer["errors"] == any(status >= 400 for status in statuses)
    return statuses


def test_a_document_is_stored_by_its_id_and_not_again(endpoint):
    assert write(endpoint, "1", "2") == [201, 201]
    assert write(endpoint, "1") == [409]
    assert endpoint.stored() == {"1": GOOD, "2": GOOD}
    assert endpoint.ids() == {"1", "2"}


def test_a_full_queue_refuses_some(endpoint):
    endpoint.mode = "429"

    assert write(endpoint, "1", "2", "3") == [201, 429, 201]
    assert endpoint.throttled == 1


@pytest.mark.parametrize("mode", ["401", "503"])
def test_a_request_is_refused_as_a_whole(endpoint, mode):
    endpoint.mode = mode

    with pytest.raises(urllib.error.HTTPError, match=mode):
        write(endpoint, "1")
    assert endpoint.stored() == {}


def test_another_data_stream_is_not_made(endpoint):
    assert write(endpoint, "1", stream="logs-other-default") == [404]


def test_what_it_does_not_know_it_does_not_do(endpoint):
    with pytest.raises(urllib.error.HTTPError, match="405"):
        ask(f"{endpoint.url}/_search", b"{}")
