"""Lines of a real manager, shipped by a real rsyslog, are found in a real OpenSearch by every field."""

import json
import re
import subprocess
import sys
from collections import Counter
from collections.abc import Iterator
from statistics import quantiles
from typing import Any

import pytest

from tests.real_parts.log_path import ENQUEUE, STREAM, LogPath, log_path
from tests.real_parts.opensearch import DataStream, OpenSearch
from tests.real_parts.test_templates import declared
from tests.support.consoles import Console, consoles_of
from tests.support.log_queries import documented
from tests.support.pages import blocks_of, page
from tests.unit.elk.files import saved_objects

HERE = "tests/real_parts/test_log_search.py"
TASKS = 60
REQUEST_ID = "r-17"
TRACE_ID = "4bf92f3577b34da6a3ce929d0e0e4736"
OF_THE_REQUEST = ("Various:0", "Various:3", "Various:4", "Various:5", "NotYet")
"""In this order: kill the worker, exhaust the retries, fail, complete, and postpone too often."""

FAILURES = Counter(
    {
        ("task.failed", "error"): 1,
        ("task.failed", "retries_exhausted"): 1,
        ("task.failed", "max_postpones"): 1,
        ("task.failed", "worker_lost"): 1,
        ("task.retried", None): 1,
        ("task.rescued", "worker_lost"): 3,
    }
)
"""The failure lines of one request's tasks: four tasks fail, after four runs that were repeated."""

SHIPPING = "docs/logs-shipping.md"
QUERIES = [
    (name, block.text.strip())
    for name in (SHIPPING, "docs/observability.md")
    for block in blocks_of(page(name))
    if block.kind == "kql"
]
REQUESTS = [console for console in consoles_of(page(SHIPPING)) if console.by == HERE]
_OF_A_TASK = re.compile(
    r"""(trace\.id|partisan\.(?:task\.id|task\.enqueued_trace_id|processor|queue\.name)) : "[^"]*\""""
)


class Shipped:
    """The log lines of one run of every kind of task, and the data stream to which they were shipped."""

    def __init__(self, path: LogPath, stream: DataStream) -> None:
        self.lines = path.lines()
        self.longest = max(len(line) for line in path.log.read_bytes().splitlines())
        self.stream = stream
        self.url = stream.url

    def found_by(self, query: str) -> set[str]:
        """Return the ids found by a query of the search bar."""
        in_lucene = re.sub(r"\b(and|or|not)\b", lambda word: word[0].upper(), query)
        search = {"query_string": {"query": in_lucene, "analyze_wildcard": True}}
        return {hit["_id"] for hit in self.stream.hits({"_source": False, "query": search})}

    def having(self, **fields: Any) -> set[str]:
        """Return the ids of lines with these values; ``event_action`` means ``event.action``."""
        wanted = {name.replace("_", ".", 1): value for name, value in fields.items()}
        return {key for key, line in self.lines.items() if wanted.items() <= line.items()}

    def with_real_values(self, query: str) -> str:
        """Return a documented query with the ids and names of a task that failed in this run."""
        failed = next(
            line
            for line in self.lines.values()
            if line.get("event.action") == "task.failed"
            and {"partisan.task.enqueued_trace_id", "trace.id"} <= line.keys()
        )
        return _OF_A_TASK.sub(lambda found: f'{found[1]} : "{failed[found[1]]}"', query)


@pytest.fixture(scope="module")
def shipped(
    opensearch: OpenSearch, env: dict[str, str], tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Shipped]:
    """One manager's log of tasks that end in every way, shipped and delivered."""
    stream = DataStream(opensearch, namespace="various")
    traced = {**env, "OTEL_TRACES_EXPORTER": "console"}
    with log_path(tmp_path_factory.mktemp("various"), traced, stream) as path:
        manager = path.start_manager("various")
        path.enqueue("Various", TASKS)
        path.run(sys.executable, "-m", ENQUEUE, "--request", REQUEST_ID, TRACE_ID, *OF_THE_REQUEST)
        path.wait_for_lines("task.failed", 2 + 2 * TASKS // 5 + 4)
        path.wait_for_lines("task.completed", 3 * TASKS // 5)
        assert manager.stop() == 0
        path.wait_for_delivery()
        assert not (path.log.parent / "refused").exists()
        yield Shipped(path, stream)
    stream.remove()


def test_each_line_is_one_document_equal_field_by_field(shipped: Shipped) -> None:
    assert shipped.stream.stored() == shipped.lines
    assert shipped.longest > 3_900  # close to the limit, LOG_MAX_LINE_BYTES
    actions = {line.get("event.action") for line in shipped.lines.values()}
    assert {
        "manager.started",
        "worker.exited",
        "task.rescued",
        "task.deduplicated",
        "manager.stopped",
    } <= actions
    assert {"task.completed", "task.postponed", "task.retried", "task.failed", None} <= actions


def test_no_line_has_a_field_that_the_templates_do_not_declare(shipped: Shipped) -> None:
    types = shipped.stream.types()
    labels = {name: kind for name, kind in types.items() if name.startswith("labels.")}

    assert types == declared() | labels
    assert labels.keys() >= {"labels.to", "labels.number", "labels.at", "labels.client_ip"}
    assert set(labels.values()) == {"keyword"}


@pytest.mark.parametrize(
    "field",
    [
        *("event.action", "log.level", "log.logger", "service.name", "service.environment", "trace.id"),
        *("error.type", "event.reason", "process.pid", "partisan.processor", "partisan.task.attempt"),
        *("event.outcome", "labels.to", "partisan.queue.name", "event.dataset", "process.name"),
    ],
)
def test_lines_are_counted_by_a_field(shipped: Shipped, field: str) -> None:
    expected = Counter(line[field] for line in shipped.lines.values() if field in line)

    counts = {"by": {"terms": {"field": field, "size": 1000}}}
    buckets = shipped.stream.search({"size": 0, "aggs": counts})["aggregations"]["by"]["buckets"]

    assert expected
    assert {bucket["key"]: bucket["doc_count"] for bucket in buckets} == expected


def test_percentiles_of_durations_are_those_of_the_lines(shipped: Shipped) -> None:
    ended = [line for line in shipped.lines.values() if line.get("event.action") == "task.completed"]
    expected = quantiles((line["event.duration"] for line in ended), n=100, method="inclusive")

    answer = shipped.stream.search(
        {
            "size": 0,
            "query": {"term": {"event.action": "task.completed"}},
            "aggs": {"p": {"percentiles": {"field": "event.duration", "percents": [50, 95]}}},
        }
    )

    assert answer["hits"]["total"]["value"] == len(ended)
    values = answer["aggregations"]["p"]["values"]
    assert values["50.0"] == pytest.approx(expected[49], rel=0.2)
    assert values["95.0"] == pytest.approx(expected[94], rel=0.5)


def test_text_is_found_by_its_words(shipped: Shipped) -> None:
    said = {key for key, line in shipped.lines.items() if "hung up" in line.get("error.message", "")}

    assert said
    assert shipped.found_by('error.message : "hung up"') == said
    in_trace = {"query": {"wildcard": {"error.stack_trace": "*ConnectionResetError*"}}}
    assert {hit["_id"] for hit in shipped.stream.hits(in_trace)} == said


def test_the_saved_queries_of_the_dashboard_find_what_their_titles_say(shipped: Shipped) -> None:
    queries = {}
    for saved in saved_objects():
        if "kibanaSavedObjectMeta" in saved["attributes"]:
            source = json.loads(saved["attributes"]["kibanaSavedObjectMeta"]["searchSourceJSON"])
            queries[saved["id"]] = source["query"]["query"]

    found = {name: shipped.found_by(query or "*") for name, query in queries.items()}

    failed = shipped.having(event_action="task.failed")
    trouble = shipped.having(log_level="warning") | shipped.having(log_level="error")
    tasks = {key for key, line in shipped.lines.items() if line.get("event.action", "").startswith("task.")}
    assert found == {
        "partisan-runs": tasks - shipped.having(event_action="task.claimed"),
        "partisan-trouble": trouble,
        "partisan-events": set(shipped.lines),
        "partisan-errors": failed | shipped.having(event_action="task.retried"),
        "partisan-durations": shipped.having(event_action="task.completed"),
        "partisan-failures": failed,
        "partisan-dashboard": set(shipped.lines),
    }


@pytest.mark.parametrize(("name", "query"), QUERIES)
def test_a_documented_query_finds_lines(shipped: Shipped, name: str, query: str) -> None:
    assert shipped.found_by(shipped.with_real_values(query)), f"{name}: {query}"


def test_the_documented_queries_find_every_failure_of_a_request(shipped: Shipped) -> None:
    by_trace, by_request = documented("text", "Every failure of one request")

    assert TRACE_ID in by_trace
    assert REQUEST_ID in by_request
    for query in (by_trace, by_request):
        hits = shipped.stream.hits({"query": {"query_string": {"query": query}}})
        found = [(hit["_source"]["event.action"], hit["_source"].get("event.reason")) for hit in hits]
        assert Counter(found) == FAILURES, query


@pytest.mark.parametrize("console", REQUESTS, ids=lambda console: str(console.line))
def test_a_documented_request_is_answered_with_figures(shipped: Shipped, console: Console) -> None:
    [command] = console.commands
    command = command.replace("http://127.0.0.1:9200", shipped.url).replace(STREAM, shipped.stream.stream)

    done = subprocess.run(["sh", "-c", command], capture_output=True, text=True, timeout=60)

    assert command.startswith("curl ")
    assert done.returncode == 0, done.stderr
    answer = json.loads(done.stdout)
    assert answer["hits"]["total"]["value"] > 0
    assert all(each["buckets"] for each in answer["aggregations"].values())
