"""The database goes down and comes back: the manager survives, and nothing is lost."""

import signal
import time
from functools import partial

from django_partisan.models import Task
from django_partisan.processor import bulk_delay
from tests.app import partisan_tasks as processors
from tests.support.database import first_value, is_asleep, sessions, this_database
from tests.support.rows import number_of
from tests.support.waiting import let_pass, wait_until

from .managing import Bench
from .own_database import OwnDatabase

END_CONNECTIONS = """
SELECT count(pg_terminate_backend(pid)) FROM pg_stat_activity
WHERE datname = current_database() AND pid <> pg_backend_pid()
"""


def all_ended(ids: list[int]) -> bool:
    return not Task.objects.filter(pk__in=ids, status__in=["new", "in_process"]).exists()


def test_manager_outlives_a_restart_of_the_database_under_load(own: OwnDatabase):
    bench = own.bench
    manager = bench.ready(database=own.settings)
    own.enqueue("Pass", 0, 3000)
    bench.wait_for("ended", 300)

    own.server.stop("immediate")
    manager.wait_for("claim.failed")
    seen = len(bench.journal("begun"))
    own.server.start()
    back_at = time.monotonic()
    wait_until(lambda: len(bench.journal("begun")) > seen, 10)
    assert time.monotonic() - back_at < 10
    wait_until(lambda: own.count("status <> 'finished'") == 0)

    ids = [line["id"] for line in bench.journal("begun")]
    assert len(set(ids)) == 3000
    assert len(ids) == 3000, "no task ran twice: all that ended were settled when the database was back"
    assert own.count("attempts <> 1 OR crashes <> 0") == 0
    assert manager.logged("database.restored")
    assert manager.logged("worker.exited") == []
    assert manager.stop() == 0


def test_outcomes_of_tasks_that_end_while_the_database_is_away_are_held_and_settled_late(own: OwnDatabase):
    bench = own.bench
    manager = bench.ready(database=own.settings)
    own.enqueue("Wait", 0, 5)
    bench.wait_for("begun", 2)
    wait_until(lambda: own.count("status = 'in_process'") == 5)

    own.server.stop("fast")
    bench.open("gate")
    bench.wait_for("ended", 5)
    manager.wait_for("task.settle_failed")
    own.server.start()
    wait_until(lambda: own.count("status = 'finished' AND attempts = 1") == 5, 10)

    assert len(manager.logged("task.settle_failed")) == 1
    assert len(bench.journal("begun")) == 5
    assert manager.stop() == 0
    assert manager.err().count("\n") == 1


def test_manager_that_is_stopped_while_the_database_is_away_settles_when_it_is_back(own: OwnDatabase):
    bench = own.bench
    manager = bench.ready(database=own.settings)
    own.enqueue("Wait", 0, 4)
    bench.wait_for("begun", 2)
    wait_until(lambda: own.count("status = 'in_process'") == 4)
    own.server.stop("fast")
    bench.open("gate")
    bench.wait_for("ended", 2)

    manager.send(signal.SIGTERM)
    manager.wait_for("manager.draining")
    own.server.start()

    assert manager.ended(15) == 0
    assert own.count("status = 'in_process'") == 0
    assert own.count("status = 'finished'") == len(bench.journal("ended"))


def test_second_signal_ends_a_manager_whose_database_is_away(own: OwnDatabase):
    bench = own.bench
    manager = bench.ready(database=own.settings)
    own.enqueue("Wait", 0, 1)
    bench.wait_for("begun")
    own.server.stop("fast")

    manager.send(signal.SIGTERM)
    manager.wait_for("manager.draining")
    manager.send(signal.SIGTERM)

    assert manager.ended(15) == 1


def test_workers_of_a_killed_manager_wait_for_the_database_to_settle(own: OwnDatabase):
    bench = own.bench
    manager = bench.ready(database=own.settings)
    own.enqueue("Wait", 0, 2)
    bench.wait_for("begun", 2)
    own.server.stop("fast")
    manager.send(signal.SIGKILL)
    manager.ended()
    bench.open("gate")
    bench.wait_for("ended", 2)

    own.server.start()
    wait_until(lambda: own.count("status = 'finished' AND attempts = 1") == 2, 10)
    wait_until(manager.is_gone, 5)
    assert "Traceback" not in manager.err()


def test_manager_outlives_the_end_of_every_one_of_its_connections(bench: Bench):
    lasting = {**this_database(), "CONN_MAX_AGE": None}
    manager = bench.ready(database=lasting, SLEEP_DELAY_SECONDS=1)
    for round_ in range(3):
        before = len(bench.journal("ended"))
        ids = bulk_delay(processors.WriteNote(f"{round_} {number}") for number in range(150))
        bench.wait_for("ended", before + 50)
        assert first_value(END_CONNECTIONS) >= 3
        wait_until(partial(all_ended, ids))

    assert manager.logged("task.transaction_left_open") == []
    failed = number_of("error")
    errors = set(Task.objects.values_list("error_message", flat=True))
    assert failed <= 2 * 3, f"more tasks than those whose own connection was ended: {errors}"
    assert number_of("finished", attempts=1) == 450 - failed
    begun = [line["id"] for line in bench.journal("begun")]
    assert len(begun) == len(set(begun)) == 450
    assert manager.stop() == 0
    wait_until(lambda: sessions() == 0)


def test_sleeping_manager_is_notified_of_tasks_soon_after_its_connections_were_ended(bench: Bench):
    bench.ready(SLEEP_DELAY_SECONDS=30)
    wait_until(is_asleep)
    let_pass(0.3)  # until the manager has polled for the last time
    first_value(END_CONNECTIONS)

    processors.Pass(1).delay()
    bench.wait_for("begun", seconds=3)
    wait_until(is_asleep)
    let_pass(0.3)
    processors.Pass(2).delay()
    bench.wait_for("begun", 2, seconds=3)
