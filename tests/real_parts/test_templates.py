"""The templates in a real OpenSearch: each field of the events' table gets its declared type."""

from collections.abc import Iterator

import pytest

from django_partisan.logs.fields import COMMON, Field
from django_partisan.logs.table import LOG_EVENTS
from tests.real_parts.log_path import ELK
from tests.real_parts.opensearch import DataStream, OpenSearch
from tests.support.commands import run

INSTALL = str(ELK / "elasticsearch" / "install.sh")
TABLE = {field.name: field for event in LOG_EVENTS.values() for field in (*COMMON, *event.fields)}
SAMPLES = {
    "boolean": True,
    "date": "2026-11-24T08:00:00.000Z",
    "keyword": "0af7651916cd43dd",
    "long": 2**62 + 1,
    "text": "Task 4711 (SendLetter) completed",
    "wildcard": "Traceback (most recent call last):\n" + 300 * "  File ..., line 1, in run\n",
}
TYPES = {"text": "match_only_text"}
"""The text type that ECS requires."""


def declared() -> dict[str, str]:
    return {name: TYPES.get(field.type, field.type) for name, field in TABLE.items() if "*" not in name}


def line_of(number: int, fields: tuple[Field, ...]) -> dict[str, object]:
    """Return a line with every field that a log event may have."""
    line = {field.name: SAMPLES[field.type] for field in (*COMMON, *fields) if "*" not in field.name}
    return {**line, "event.id": str(number), "labels.to": "ada", "labels.sent_at": "2026-11-24"}


@pytest.fixture
def new(opensearch: OpenSearch, data_stream: DataStream) -> Iterator[OpenSearch]:
    """A server without our templates; they are installed again after the test."""
    _remove_templates(opensearch)
    yield opensearch
    data_stream.remove()
    _remove_templates(opensearch)
    run(INSTALL, opensearch.url).check_returncode()


def _remove_templates(server: OpenSearch) -> None:
    for path in ("_index_template/logs-partisan", "_component_template/partisan@*"):
        server.request("DELETE", path)


def test_every_field_of_the_table_has_its_declared_type_in_a_fresh_server(
    new: OpenSearch, data_stream: DataStream
) -> None:
    run(INSTALL, new.url).check_returncode()
    run(INSTALL, new.url).check_returncode()
    lines = {str(number): line_of(number, event.fields) for number, event in enumerate(LOG_EVENTS.values())}

    data_stream.create(lines)

    types = data_stream.types()
    labels = {"labels.to": "keyword", "labels.sent_at": "keyword"}
    assert types == declared() | labels
    assert data_stream.stored() == lines
    found = data_stream.server.ask("GET", f"{data_stream.stream}/_field_caps?fields=*")["fields"]
    for name, kind in types.items():
        assert found[name][kind]["searchable"], name
        assert found[name][kind]["aggregatable"] or kind in ("match_only_text", "wildcard"), name


def test_strings_of_others_become_keywords_and_nothing_is_taken_for_a_date(data_stream: DataStream) -> None:
    line = {**line_of(1, ()), "log.offset": 17, "agent.started": "2026-11-24T08:00:00Z", "host.name": "a"}

    data_stream.create({"1": line})

    types = data_stream.types()
    assert types["agent.started"] == types["host.name"] == "keyword"
    assert types["log.offset"] == "long"
    assert [hit["_id"] for hit in data_stream.hits({"query": {"term": {"host.name": "a"}}})] == ["1"]


def test_labels_are_keywords_whatever_the_first_value_looks_like(data_stream: DataStream) -> None:
    data_stream.create({"1": {**line_of(1, ()), "labels.number": 5, "labels.client_ip": "10.0.0.1"}})
    data_stream.create({"2": {**line_of(2, ()), "labels.number": "five", "labels.client_ip": "unknown"}})

    types = data_stream.types()
    assert types["labels.number"] == types["labels.client_ip"] == "keyword"


def test_a_part_of_the_users_own_is_composed_and_not_overwritten(
    new: OpenSearch, data_stream: DataStream
) -> None:
    mappings = {"properties": {"labels": {"properties": {"amount": {"type": "double"}}}}}
    own = {"template": {"mappings": mappings, "settings": {"number_of_replicas": 0}}}
    new.ask("PUT", "_component_template/partisan@custom", own)

    run(INSTALL, new.url).check_returncode()
    data_stream.create({"1": {**line_of(1, ()), "labels.amount": 1.5}})

    assert data_stream.types()["labels.amount"] == "double"


def test_what_cannot_be_installed_is_said_with_the_servers_words(new: OpenSearch) -> None:
    rival = {"index_patterns": ["logs-partisan.*"], "priority": 200, "data_stream": {}}
    new.ask("PUT", "_index_template/rival", rival)
    try:
        done = run(INSTALL, new.url)
    finally:
        new.ask("DELETE", "_index_template/rival")

    assert done.returncode == 1
    assert "_index_template/logs-partisan was refused" in done.stderr
    assert "rival" in done.stderr
