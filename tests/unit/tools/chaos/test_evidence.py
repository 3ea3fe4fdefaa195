"""Journals are parsed into enqueued tasks and runs."""

from pathlib import Path
from typing import Any

import pytest

from tools.chaos import journal
from tools.chaos.evidence import COMMITTED, ROLLED_BACK, UNKNOWN, enqueued_in, runs_in


def enqueuing(at_once: bool, verdict: str | None) -> list[dict[str, Any]]:
    task = {"key": "a", "kind": "Nap", "amount": 1, "due": None}
    lines: list[dict[str, Any]] = [
        {"what": "enqueuing", "at": 1.0, "transaction": "e/0", "at_once": at_once, "tasks": [task]}
    ]
    if verdict is not None:
        ids = {"ids": [5]} if verdict == COMMITTED else {}
        lines.append({"what": verdict, "at": 2.0, "transaction": "e/0", **ids})
    return lines


@pytest.mark.parametrize("at_once", [True, False])
@pytest.mark.parametrize("verdict", [COMMITTED, ROLLED_BACK])
def test_an_enqueuer_that_got_an_answer_is_believed(at_once: bool, verdict: str):
    [one] = enqueued_in(enqueuing(at_once, verdict), markers=set())

    assert (one.verdict, one.id) == (verdict, 5 if verdict == COMMITTED else None)


@pytest.mark.parametrize("verdict", [UNKNOWN, None])
def test_marker_decides_where_the_answer_was_lost_or_the_enqueuer_killed(verdict: str | None):
    lines = enqueuing(False, verdict)

    assert [one.verdict for one in enqueued_in(lines, markers={"e/0"})] == [COMMITTED]
    assert [one.verdict for one in enqueued_in(lines, markers=set())] == [ROLLED_BACK]
    assert [one.verdict for one in enqueued_in(enqueuing(True, verdict), markers=set())] == [UNKNOWN]


def test_journals_of_all_processes_are_read_in_order_without_half_lines(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setenv(journal.FOLDER, str(tmp_path))
    common = {"run": "n", "id": 1, "key": "a", "attempt": 1, "postpones": 0, "retries": 2, "clock": 9.0}
    journal.write("begun", manager=7, **common)
    journal.write("ended", run="n", how="completed")
    (tmp_path / f"other-1{journal.SUFFIX}").write_text('{"what": "begun", "at": 0.0}\n{"what": "en')

    lines = journal.read(tmp_path)
    [run] = runs_in(lines[1:])

    assert [line["what"] for line in lines] == ["begun", "begun", "ended"]
    assert (run.manager, run.retries, run.how) == (7, 2, "completed")
    assert run.ended is not None
    assert run.begun <= run.ended


def test_run_without_an_end_was_cut_off():
    line = {
        "what": "begun", "run": "n", "at": 1.0, "pid": 3, "id": 1, "key": "a", "manager": 7, "attempt": 1,
        "postpones": 0, "retries": 0, "clock": 9.0,
    }  # fmt: skip

    [run] = runs_in([line])

    assert (run.ended, run.how) == (None, None)
