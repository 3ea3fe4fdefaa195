"""What runs while a manager hangs or is dead: nothing new, and what runs already runs once."""

import signal

from django_partisan.models import Task
from django_partisan.processor import bulk_delay
from tests.app import partisan_tasks as processors
from tests.support.rows import number_of
from tests.support.waiting import let_pass, wait_until

from .managing import Bench


def test_workers_of_a_manager_that_hangs_start_nothing_past_the_end_of_its_lease(bench: Bench):
    manager = bench.ready(WORKERS_COUNT=1, LEASE_SECONDS=3)
    bulk_delay(kind(0) for kind in (processors.HoldInterpreter, processors.Pass) for _ in range(100))
    wait_until(lambda: number_of("finished") == 200)
    Task.objects.all().delete()
    (bench.folder / "journal").unlink()
    bulk_delay([processors.HoldInterpreter(5), *(processors.Pass(number) for number in range(5))])
    bench.wait_for("begun")

    manager.send(signal.SIGSTOP)
    bench.wait_for("ended")
    let_pass(0.5)

    assert len(bench.journal("begun")) == 1
    manager.send(signal.SIGCONT)
    wait_until(lambda: number_of("finished", attempts=1) == 6)
