"""The stand-in for Elasticsearch stores, refuses and fails as Elasticsearch does."""

import gzip
import json
import re
import subprocess
import sys
import urllib.error
import urllib.request
from collections.abc import Iterator
from typing import Any

import pytest

from tests.support.commands import ROOT
from tools.bulk_endpoint import BulkEndpoint

STREAM = "logs-partisan.events-default"
GOOD = {"@timestamp": "2026-11-24T08:00:00.000Z", "message": "hello"}


@pytest.fixture
def endpoint() -> Iterator[BulkEndpoint]:
    with BulkEndpoint() as made:
        for kind, name, file in (
            ("_component_template", "partisan@mappings", "component-template.json"),
            ("_index_template", "logs-partisan", "index-template.json"),
        ):
            body = (ROOT / "elk" / "elasticsearch" / file).read_bytes()
            ask(f"{made.url}/{kind}/{name}", body, "PUT")
        yield made


def ask(url: str, body: bytes | None = None, method: str = "POST", **headers: str) -> Any:
    request = urllib.request.Request(url, body, headers, method=method)
    with urllib.request.urlopen(request, timeout=10) as response:
        assert response.headers["X-Elastic-Product"] == "Elasticsearch"
        data = response.read()
    return json.loads(data) if data else None


def bulk_body(
    *documents: dict[str, Any], first: int = 1, action: str = "create", stream: str = STREAM
) -> bytes:
    lines = []
    for number, document in enumerate(documents, first):
        lines += [{action: {"_index": stream, "_id": str(number)}}, document]
    return "".join(json.dumps(line) + "\n" for line in lines).encode()


def write(endpoint: BulkEndpoint, *documents: dict[str, Any], **how: Any) -> list[int]:
    answer = ask(f"{endpoint.url}/_bulk", bulk_body(*documents, **how))
    statuses = [item["create"]["status"] for item in answer["items"]]
    assert answer["errors"] == any(status >= 400 for status in statuses)
    return statuses


def test_a_document_is_stored_by_its_id_and_not_again(endpoint):
    assert write(endpoint, GOOD, {**GOOD, "partisan.task.wait_ns": 5}) == [201, 201]
    assert write(endpoint, {**GOOD, "message": "other"}) == [409]
    assert endpoint.documents == {"1": GOOD, "2": {**GOOD, "partisan.task.wait_ns": 5}}
    assert endpoint.conflicts == 1


def test_compressed_requests_to_a_data_stream_of_the_path_are_read(endpoint):
    lines = [{"create": {"_id": "1"}}, GOOD]
    body = gzip.compress("".join(json.dumps(line) + "\n" for line in lines).encode())

    ask(f"{endpoint.url}/{STREAM}/_bulk?filter_path=x", body, **{"Content-Encoding": "gzip"})

    assert endpoint.documents == {"1": GOOD}


@pytest.mark.parametrize(
    ("document", "reason"),
    [
        ({**GOOD, "partisan.task.wait_ns": "soon"}, "is no long"),
        ({**GOOD, "level": "info"}, "level is unknown"),
        (["no", "object"], "no attribute"),
    ],
)
def test_a_document_that_does_not_fit_the_templates_is_refused(endpoint, document, reason):
    assert write(endpoint, document, GOOD) == [400, 201]
    assert reason in endpoint.refused[0]


def test_only_creation_under_an_id_is_safe_to_repeat(endpoint):
    assert write(endpoint, GOOD, action="index") == [400]
    body = f"{json.dumps({'create': {'_index': STREAM}})}\n{json.dumps(GOOD)}\n".encode()
    assert ask(f"{endpoint.url}/_bulk", body)["items"][0]["create"]["status"] == 400


def test_a_data_stream_without_a_template_is_not_made(endpoint):
    assert write(endpoint, GOOD, stream="logs-other-default") == [404]


def test_what_it_does_not_know_it_does_not_do(endpoint):
    with pytest.raises(urllib.error.HTTPError, match="405"):
        ask(f"{endpoint.url}/_search", b"{}")


@pytest.mark.slow
def test_the_program_says_how_many_documents_it_holds():
    command = [sys.executable, "-m", "tools.bulk_endpoint", "--port", "0"]
    with subprocess.Popen(command, cwd=ROOT, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        first = process.stdout.readline()
        second = process.stdout.readline()
        process.kill()

    assert re.match(r"http://127\.0\.0\.1:\d+ takes templates", first)
    assert second == "0 documents, 0 refused\n"
