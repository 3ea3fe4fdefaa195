"""The tables match the measurements."""

import pytest

from bench.measurement import Measurement, of_harness
from bench.report import tables


def measured(subject, scenario="drain", error=None, tasks=1000, **figures):
    return Measurement(scenario, subject, tasks, 0, at=0.0, load=0.5, figures=figures, error=error)


def row(text, subject):
    (line,) = [line for line in text.splitlines() if line.startswith(f"| {subject} |")]
    return [cell.strip() for cell in line.strip("|").split("|")]


def heading(text):
    drains = text[text.rindex("## ") :]
    return row(drains, "subject")


def test_a_rate_is_the_median_with_minimum_and_maximum():
    text = tables([measured("partisan2:tuned", rate=rate) for rate in (100.0, 300.0, 250.0)])

    assert row(text, "partisan2:tuned")[1:3] == ["3", "250 (100 to 300)"]


def test_counts_are_whole_numbers_and_other_figures_have_as_many_digits_as_count():
    text = tables([measured("partisan2:tuned", rate=12.34, pss=0.5, nproc=8.0, ran=1_000, lost=0)])

    cells = dict(zip(heading(text), row(text, "partisan2:tuned"), strict=True))
    shown = [cells[name] for name in ("tasks/s, first to last", "PSS MiB", "processes", "ran", "lost")]
    assert shown == ["12.3", "0.50", "8", "1,000", "0"]


@pytest.mark.parametrize(
    ("scenario", "figure", "figures", "ratios"),
    [
        ("drain", "rate", (150.0, 100.0, 50.0, 900.0), ["1.50", "1.00", "0.50"]),
        ("latency", "p50", (0.5, 1.0, 2.0, 0.1), ["0.50", "1.00", "2.00"]),
    ],
)
def test_ratios_are_to_the_best_peer_and_not_to_the_ceiling(scenario, figure, figures, ratios):
    subjects = ("partisan2:tuned", "fast:b", "slow:a", "ceiling:pipe")
    text = tables(
        [measured(name, scenario, **{figure: of}) for name, of in zip(subjects, figures, strict=True)]
    )

    column = heading(text).index("ratio to fast:b")
    assert [row(text, name)[column] for name in subjects[:3]] == ratios


def test_a_failed_measurement_is_told_and_counts_for_nothing():
    text = tables([measured("partisan2:tuned", rate=10.0), measured("partisan2:tuned", error="no task ran")])

    assert row(text, "partisan2:tuned")[1] == "1"
    assert "partisan2:tuned, repetition 1: no task ran" in text


def test_drains_are_compared_with_pgbench_where_it_ran_and_missing_figures_are_dashes():
    ours = measured("partisan2:tuned", rate=150.0, cpu_server_us=None)
    text = tables([measured("update+delete n=2000 clients=2", "limit", rate=200.0), ours])

    cells = dict(zip(heading(text), row(text, "partisan2:tuned"), strict=True))
    assert (cells["of update+delete n=2000 clients=2"], cells["server CPU us/task"]) == ("0.75", "-")


def test_a_line_of_the_peers_harness_becomes_a_measurement():
    line = {
        "t": 5.0, "scenario": "drain", "peer": "graphile_worker:tuned", "rep": 1, "n_arg": 20,
        "retain_arg": 500, "load": 0.25, "result": {"rate": 7, "settle_s": None, "capped": False},
    }  # fmt: skip

    found = of_harness(line)

    assert (found.subject, found.tasks, found.conditions) == (
        "graphile_worker:tuned",
        20,
        "beside 500 finished",
    )
    assert found.figures == {"rate": 7.0, "settle_s": None, "capped": 0.0}
    assert not found.is_ours


def test_enqueueing_is_compared_with_inserts_of_the_same_size():
    ours = measured("partisan2:tuned", "enqueue", one=800.0, bulk=40_000.0)
    limits = [
        measured("insert n=1 clients=1", "limit", rate=1_000.0),
        measured("insert n=1 clients=2", "limit", rate=1_600.0),  # the harness runs it with the first
        measured("insert n=1000 clients=1", "limit", rate=80_000.0),
    ]

    text = tables([*limits, ours])

    cells = dict(zip(heading(text), row(text, "partisan2:tuned"), strict=True))
    compared = {name: share for name, share in cells.items() if name.startswith("of ")}
    assert compared == {"of insert n=1 clients=1": "0.80", "of insert n=1000 clients=1": "0.50"}


def test_only_a_drain_of_few_tasks_is_compared_with_small_batches():
    small, large = "update+delete n=10 clients=2", "update+delete n=2000 clients=2"
    limits = [measured(small, "limit", rate=100.0), measured(large, "limit", rate=200.0)]

    few = tables([*limits, measured("partisan2:tuned", rate=50.0, tasks=20_000)])
    many = tables([*limits, measured("partisan2:tuned", rate=50.0, tasks=200_000)])

    assert [name for name in heading(few) if name.startswith("of ")] == [f"of {large}", f"of {small}"]
    assert [name for name in heading(many) if name.startswith("of ")] == [f"of {large}"]
