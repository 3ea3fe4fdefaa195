"""A variant that was not monitored as it claims is detected."""

import json

import pytest

from bench.companion import CompanionResult
from bench.watched import read_telemetry


def note(folder, name, **seen):
    path = folder / f"{name}-{len(list(folder.iterdir()))}.json"
    path.write_text(json.dumps(vars(CompanionResult(name, **seen))))


def test_what_several_runs_saw_is_added_up(tmp_path):
    note(tmp_path, "full", scrapes=[0.001, 0.003], spans=10, log_lines=4, log_bytes=400)
    note(tmp_path, "full", scrapes=[0.002], scrapes_failed=1, spans=5, log_lines=4, log_bytes=400)

    (sight,) = read_telemetry(tmp_path, {"full": 15})

    assert str(sight) == (
        "full: 3 scrapes, 1 failed; p50 2.0 ms, max 3.0 ms;"
        " 15 process spans and 8 log lines of 100 bytes for 15 tasks"
    )
    assert sight.missing() == []


@pytest.mark.parametrize(
    ("name", "scrapes", "missing"),
    [("metrics", [], ["NOT ONE SCRAPE"]), ("full", [0.001], ["NOT ONE SPAN", "NOT ONE LOG LINE"])],
)
def test_scrapes_spans_and_log_lines_that_never_came_are_found_out(name, scrapes, missing, tmp_path):
    note(tmp_path, name, scrapes=scrapes)

    (sight,) = read_telemetry(tmp_path, {})

    assert [text[: text.index(":")] for text in sight.missing()] == missing
