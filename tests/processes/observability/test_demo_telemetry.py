"""The demo accounts for its tasks, writes metrics, log and spans, and shows one task in all three."""

import json
import re
from pathlib import Path

import pytest

from tests.processes.observability.scraping import Scrape
from tests.support.commands import python
from tests.support.demo import number_of

WITHOUT_EXPORTER = """
import runpy, sys
sys.modules["opentelemetry.exporter.otlp.proto.http.trace_exporter"] = None
runpy.run_module("demo", run_name="__main__")
"""


def run(folder: Path, *start: str, files: int = 10) -> str:
    """Run the demo on a few files; return its output."""
    done = python(*start, "--output", str(folder), "--files", str(files), seconds=60)
    assert done.returncode == 0, done.stdout + done.stderr
    assert done.stderr == ""
    return done.stdout


def lines_of(file: Path) -> list[dict[str, object]]:
    return [json.loads(line) for line in file.read_text(encoding="utf-8").splitlines()]


def place(said: str, what: str) -> Path:
    """Return the path that the demo's output gives for something."""
    found = re.search(rf"^  {what} +(/\S+)", said, re.MULTILINE)
    assert found, said
    return Path(found[1])


@pytest.fixture(scope="module")
def output(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The output folder of one demo run, shared by the tests because a run takes longer than they do."""
    return tmp_path_factory.mktemp("demo")


@pytest.fixture(scope="module")
def said(output: Path) -> str:
    """The output of that run."""
    return run(output, "-m", "demo", files=40)


def test_the_demo_accounts_for_every_task_and_writes_its_report(said: str, output: Path):
    assert number_of(said, "completed") + number_of(said, "failed") == int(
        re.findall(r"Enqueued (\d+) tasks", said)[0]
    )
    assert number_of(said, "completed") >= 40
    assert number_of(said, "failed") >= 1
    assert number_of(said, "unaccounted for") == 0
    assert number_of(said, "on the way") >= 1
    assert "tasks per second" in said
    assert "<svg" in (output / "report.html").read_text()
    assert "\x1b" not in said


def test_the_demo_follows_one_task_through_log_spans_and_metrics(said: str):
    headline = re.search(r"^Task (\d+) \((\w+)\) in all three", said, re.MULTILINE)
    exemplar = re.search(r"exemplar: trace (\w+), span (\w+)", said)
    assert headline, said
    assert exemplar, said
    task, processor = headline.groups()
    trace, span = exemplar.groups()
    events = [line for line in lines_of(place(said, "log")) if line.get("partisan.task.id") == task]
    runs = {
        line["span_id"]: line for line in lines_of(place(said, "spans")) if line["name"] == "process default"
    }
    exported = Scrape(place(said, "metrics").read_text(encoding="utf-8"))
    assert span in {event["span.id"] for event in events}
    assert {event["partisan.processor"] for event in events} == {processor}
    assert runs[span]["trace_id"] == trace
    assert runs[span]["attributes"]["messaging.message.id"] == task  # type: ignore[index]
    assert trace in {exemplar.labels["trace_id"] for exemplar in exported.exemplars.values()}
    assert {link["span_id"] for link in runs[span]["links"]} <= {  # type: ignore[attr-defined]
        line["span_id"] for line in lines_of(place(said, "spans"))
    }


def test_the_demo_does_without_an_exporter(tmp_path: Path):
    said = run(tmp_path, "-c", WITHOUT_EXPORTER)

    assert "spans    none" in said
    assert "in all three" not in said
    assert lines_of(place(said, "log"))
    assert place(said, "metrics").exists()
