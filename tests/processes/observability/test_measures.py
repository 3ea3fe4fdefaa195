"""What users observe and measure in their own tasks: measures, log lines, signals."""

from tests.processes.observability.scraping import scrape, scrape_until
from tests.processes.observability.watching import Watching, enqueue, wait_until_done
from tests.support.rows import count_by_status
from tests.support.waiting import wait_until

OF_TASK = {"queue": "default", "processor": "Measured"}


def test_measures_of_a_processor_are_exported(watching: Watching):
    manager = watching.ready()
    before = scrape(manager)
    enqueue("Measured", times=3)
    seen = scrape_until(manager, "partisan_user_mails_total", 3)

    assert list(before.series("partisan_user_bytes_total", **OF_TASK).values()) == [0]
    assert before.families["partisan_user_mails"].documentation == "Mails sent."
    assert seen.series("partisan_user_mails_total") == {frozenset({**OF_TASK, "country": "at"}.items()): 3}
    assert seen.sum("partisan_user_bytes_total", **OF_TASK) == 7.5
    assert seen.sum("partisan_user_size_bytes_bucket", le="10.0") == 0
    assert seen.sum("partisan_user_size_bytes_bucket", le="100.0") == 3
    assert seen.sum("partisan_user_size_bytes_sum") == 150


def test_measures_cost_nothing_and_raise_nothing_without_a_port(watching: Watching):
    manager = watching.bench.ready(settings=watching.settings())
    enqueue("Measured")
    wait_until_done()
    manager.stop()

    assert count_by_status() == {"finished": 1}
    assert "partisan.manager.metrics_address" not in manager.logged("manager.started")[0]
    assert manager.err().count("\n") == 1  # the line that says what it serves


def test_signals_are_sent_in_workers(watching: Watching):
    manager = watching.ready()
    [task] = enqueue("Measured")
    sent = watching.bench.wait_for("signal", 2)

    assert [line["kind"] for line in sent] == ["started", "completed"]
    assert {(line["id"], line["sender"]) for line in sent} == {(task, "Measured")}
    assert {line["pid"] for line in sent} <= set(manager.workers())


def test_a_receiver_that_raises_costs_nothing_but_a_count(watching: Watching):
    manager = watching.ready()
    enqueue("OfALoudReceiver", times=2)
    seen = scrape_until(manager, "partisan_tasks_completed_total", 2)
    wait_until(lambda: count_by_status() == {"finished": 2})

    assert seen.sum("partisan_telemetry_errors_total", signal="signals") == 2
    assert 1 <= manager.err().count("the signals subscriber raised an exception") <= 2  # once per worker
