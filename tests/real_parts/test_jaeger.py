"""A real Jaeger stores our spans as documented, and its searches find them."""

from collections import Counter
from collections.abc import Iterator

import pytest

from tests.real_parts.elastic_shippers import is_there
from tests.real_parts.jaeger import Found, Jaeger
from tests.real_parts.log_path import ENQUEUE
from tests.support.child import Child
from tests.support.commands import MANAGE, python
from tests.support.waiting import wait_until
from tools.parts.go_programs import JAEGER

pytestmark = is_there(JAEGER)

TRACE_ID = "4bf92f3577b34da6a3ce929d0e0e4736"
SEND, RUN = "send various", "process various"
FAIL_OR_COMPLETE, KILL = ["Various:3", "Various:4", "Various:5", "NotYet"], ["Various:0"]
OUTCOMES = Counter({"failed": 4, "retried": 1, "postponed": 1, "completed": 1, None: 3})
"""The runs of one request's five tasks; a run whose worker died, and which is repeated, has no outcome."""


@pytest.fixture(scope="module")
def jaeger(tmp_path_factory: pytest.TempPathFactory, env: dict[str, str]) -> Iterator[Jaeger]:
    """A Jaeger with the spans of a request and of its tasks' runs."""
    folder = tmp_path_factory.mktemp("jaeger")
    made = Jaeger(folder)
    traced = {**env, "OTEL_EXPORTER_OTLP_ENDPOINT": made.otlp_url}
    command = [*MANAGE, "start_partisan", "--queue-name", "various", "--workers-count", "2"]
    manager = Child("manager", command, folder, traced)
    try:
        # In two steps, because spans that a worker has not exported are lost when it dies.
        for tasks, runs in ((FAIL_OR_COMPLETE, 6), (KILL, OUTCOMES.total())):
            request = ["-m", ENQUEUE, "--request", "r-17", TRACE_ID, *tasks]
            python(*request, env=traced).check_returncode()
            wait_until(lambda: len(made.search("shop", RUN)) >= runs, 60, manager.log_end, 0.2)  # noqa: B023
        yield made
    finally:
        manager.stop()
        made.stop()


@pytest.fixture
def runs(jaeger: Jaeger) -> list[Found]:
    """The spans of all runs."""
    return jaeger.search("shop", RUN)


def test_spans_are_found_by_service_and_by_operation(jaeger: Jaeger, runs: list[Found]) -> None:
    assert "shop" in jaeger.services()
    assert jaeger.operations("shop") >= {"POST /orders", SEND, RUN, "claim various"}
    assert Counter(run.tags.get("partisan.task.outcome") for run in runs) == OUTCOMES
    assert {run.tags["span.kind"] for run in runs} == {"consumer"}


def test_the_outcome_finds_the_failures_also_those_whose_worker_died(jaeger: Jaeger) -> None:
    failed = jaeger.search("shop", RUN, partisan__task__outcome="failed")

    assert len({run.task for run in failed}) == len(failed) == OUTCOMES["failed"]
    assert {run.tags["otel.status_code"] for run in failed} == {"ERROR"}
    assert Counter(run.tags["error.type"].rpartition(".")[2] for run in failed) == {
        "ValueError": 1,
        "ConnectionResetError": 1,
        "MaxPostponesReached": 1,
        "WorkerLost": 1,
    }


def test_the_trace_of_a_request_shows_what_was_enqueued_and_the_tasks_id_finds_its_runs(
    jaeger: Jaeger, runs: list[Found]
) -> None:
    trace = jaeger.trace(TRACE_ID)
    requests = {span.span_id for span in trace if span.name == "POST /orders"}
    sends = [span for span in trace if span.name == SEND]

    assert {span.name for span in trace} == {"POST /orders", SEND}
    assert len({send.task for send in sends}) == len(sends) == 5
    assert {send.parent for send in sends} == requests
    for send in sends:
        found = jaeger.search("shop", messaging__message__id=str(send.task))
        own = [span for span in runs if span.task == send.task]
        assert sorted(span.span_id for span in found) == sorted(span.span_id for span in [send, *own])
        assert own


def test_each_run_is_a_trace_of_its_own_with_links_to_who_enqueued_and_to_the_run_before(
    jaeger: Jaeger, runs: list[Found]
) -> None:
    sent = {send.task: (TRACE_ID, send.span_id) for send in jaeger.search("shop", SEND)}
    known = {(run.trace_id, run.span_id): run for run in runs}

    assert len({run.trace_id for run in runs} - {TRACE_ID}) == len(runs)
    for run in runs:
        others = [link for link in run.links if link != sent[run.task]]
        assert len(run.links) == 1 + len(others)
        assert run.parent is None
        assert {known[other].task for other in others} <= {run.task}
        assert len(others) <= 1
    again = [run for run in runs if run.tags["partisan.task.retries"] or run.tags["partisan.task.postpones"]]
    assert len(again) == 2
    assert [len(run.links) for run in again] == [2, 2]


def test_the_events_of_a_run_say_its_outcome_and_its_error(runs: list[Found]) -> None:
    for run in runs:
        outcome = run.tags.get("partisan.task.outcome")
        events = [event["event"] for event in run.events]
        assert f"task.{outcome or 'rescued'}" in events
        assert ("exception" in events) == (outcome not in ("completed", "postponed"))
