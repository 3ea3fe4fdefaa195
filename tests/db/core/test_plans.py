"""Each partial index is used only by its own statement, and scheduled tasks do not slow down a claim."""

import json
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial
from typing import Any
from uuid import UUID, uuid4

import pytest
from django.db import connection, transaction
from django.db.backends.base.base import BaseDatabaseWrapper
from django.db.backends.postgresql.psycopg_any import is_psycopg3

from django_partisan.models import Task
from django_partisan.retention import rules_of_age
from django_partisan.sql import claiming, holding, leasing, overview, own_claims, pruning, rescuing, settling
from django_partisan.sql.backlog import waiting
from django_partisan.sql.claiming import check_queue
from django_partisan.sql.connection import execute, fetch_all, open_connection
from django_partisan.sql.forgotten import restore
from django_partisan.sql.preparable import Preparable
from django_partisan.sql.pruning import Walk
from django_partisan.sql.queue_statistics import StatisticsQuery
from django_partisan.sql.row_changes import Crash, RowChange
from django_partisan.sql.situation import situation_of
from django_partisan.sql.statistics_statement import PREPARE
from tests.support.registry import Idle
from tests.support.rows import claim, dead, task_row

pytestmark = pytest.mark.django_db

TABLE = "django_partisan_task"
PRIMARY_KEY = "django_partisan_task_pkey"
MANAGER = UUID(int=1)
SCHEDULED_AHEAD = 300_000
FAILED = Task.objects.failed().filter(queue_name="default")

FILL = f"""
    INSERT INTO django_partisan_task
           (status, ready, queue_name, priority, execute_after, claimed_by, claim_token, finished_at,
            unique_key, created_at, updated_at, processor_class, arguments, extra)
    SELECT status, status = 'new' AND number % 2 = 0, CASE number % 5 WHEN 0 THEN 'default' ELSE 'mail' END,
           number % 20, now() + CASE WHEN number % 2 = 0 THEN -number ELSE number END * interval '1 second',
           CASE status WHEN 'in_process' THEN '{MANAGER}'::uuid END, 0,
           CASE WHEN status IN ('finished', 'error') THEN now() - number * interval '1 second' END,
           gen_random_uuid(), now(), now(), 'Letter', '{{"args": [], "kwargs": {{}}}}', '{{}}'
      FROM (SELECT number, CASE WHEN number <= 20000 THEN 'new' WHEN number <= 21000 THEN 'in_process'
                                WHEN number <= 26000 THEN 'error' ELSE 'finished' END AS status
              FROM generate_series(1, 50000) AS number) AS numbered
"""

IN_PROCESS = """
    INSERT INTO django_partisan_task
           (status, ready, queue_name, priority, execute_after, claimed_by, claim_token, created_at,
            updated_at, processor_class, arguments, extra)
    SELECT 'in_process', false, 'new here', 10, now(), %s, 0, now(), now(), 'Letter',
           '{"args": [], "kwargs": {}}', '{}'
      FROM generate_series(1, %s) AS number
"""

SET_ASIDE = """
    INSERT INTO django_partisan_task
           (status, ready, queue_name, priority, execute_after, held, unregistered_since, created_at,
            updated_at, processor_class, arguments, extra)
    SELECT 'new', false, 'default', 10, now(), 'unregistered', now(), now(), now(), 'Gone',
           '{"args": [], "kwargs": {}}', '{}'
      FROM generate_series(1, %s) AS number
"""

SCHEDULE = """
    INSERT INTO django_partisan_task
           (status, ready, queue_name, priority, execute_after, created_at, updated_at, processor_class,
            arguments, extra)
    SELECT 'new', false, 'default', -2147483648, now() + interval '1 day' + number * interval '1 second',
           now(), now(), 'Letter', '{"args": [], "kwargs": {}}', '{}'
      FROM generate_series(1, %s) AS number
"""


class Plan:
    """The plan of a statement: its nodes on the task table, and the indexes it reads."""

    def __init__(self, tree: Any) -> None:
        nodes = list(_nodes(tree))
        ours = [node for node in nodes if node.get("Relation Name") == TABLE and "Scan" in node["Node Type"]]
        self.indexes = {node["Index Name"] for node in nodes if "Index Name" in node}
        self.arbiters = {name for node in nodes for name in node.get("Conflict Arbiter Indexes", ())}
        self.scans = [node["Node Type"] for node in ours]
        self.blocks: int = sum(
            node.get(f"Shared {kind} Blocks", 0) for node in ours for kind in ("Hit", "Read")
        )


def _nodes(node: dict[str, Any]) -> Iterator[dict[str, Any]]:
    yield node
    for inner in node.get("Plans", ()):
        yield from _nodes(inner)


@contextmanager
def plans(of: BaseDatabaseWrapper = connection, analyze: bool = False) -> Iterator[list[Plan]]:
    """Explain every statement executed inside the block; with ``analyze``, EXPLAIN also executes it."""
    found: list[Plan] = []
    options = "ANALYZE, BUFFERS, FORMAT JSON" if analyze else "FORMAT JSON"

    def explain(execute: Any, sql: str, params: Any, many: bool, context: Any) -> Any:
        if sql.split()[0] in ("WITH", "SELECT", "INSERT", "UPDATE", "DELETE"):
            execute(f"EXPLAIN ({options}) {sql}", params, many, context)
            [answer] = context["cursor"].fetchone()
            found.append(Plan((json.loads(answer) if isinstance(answer, str) else answer)[0]["Plan"]))
        return execute(sql, params, many, context)

    of.execute_wrappers.insert(0, explain)  # the first wrapper sees a statement before the others change it
    try:
        yield found
    finally:
        of.execute_wrappers.remove(explain)


def plan_of(act: Callable[[], Any]) -> Plan:
    """Return the plan of the last statement of ``act``."""
    with plans() as found:
        act()
    *_, plan = found
    return plan


@pytest.fixture(scope="module")
def table(django_db_setup: None, django_db_blocker: Any) -> Iterator[None]:
    """50,000 tasks of every status in two queues, for all tests of this module."""
    with django_db_blocker.unblock():
        execute(connection, FILL)
        execute(connection, f"VACUUM ANALYZE {TABLE}")
        leasing.register(connection, MANAGER, "default", "here", 1, uuid4(), 30)
    yield
    with django_db_blocker.unblock():
        execute(connection, f"TRUNCATE {TABLE}, django_partisan_manager")
        execute(connection, f"ANALYZE {TABLE}")


class Letter(Idle):
    pass


@pytest.mark.usefixtures("table")
@pytest.mark.parametrize(
    "settle",
    [
        lambda ids: settling.delete_completed(connection, [(task_id, 1) for task_id in ids]),
        lambda ids: settling.finish_completed(
            connection, [(task_id, 1, 0, "here:1", None) for task_id in ids]
        ),
        lambda ids: settling.apply_changes(connection, [RowChange(task_id, 1, "new") for task_id in ids]),
        lambda ids: settling.release(connection, [(task_id, 1) for task_id in ids]),
        lambda ids: settling.count_crashes(connection, [Crash(task_id, 1, 2) for task_id in ids]),
        lambda ids: settling.locked_by_others(connection, [(task_id, 1) for task_id in ids]),
        lambda ids: settling.delete_completed(connection, [(task_id, 1) for task_id in ids], again=True),
    ],
    ids=["delete", "finish", "apply", "release", "crashes", "locked", "again"],
)
def test_many_outcomes_are_written_without_a_walk_over_older_rows(settle):
    newest = sorted(Task.objects.order_by("-pk").values_list("pk", flat=True)[:2000])

    with plans(analyze=True) as found:
        settle(newest)

    rows_in_a_block = 15
    assert found
    for plan in found:
        assert plan.indexes == {PRIMARY_KEY}
        assert plan.blocks < 4 * 2000 / rows_in_a_block


@pytest.mark.usefixtures("table")
def test_the_situation_of_a_task_is_read_by_keys_and_by_the_index_of_the_claim():
    last = (
        Task.objects.filter(queue_name="default", status="new", ready=True).order_by("priority", "pk").last()
    )
    held = Task.objects.filter(queue_name="default", status="in_process").latest("pk")
    assert last is not None

    with plans() as found:
        situation = situation_of(connection, last.pk)
        situation_of(connection, held.pk)

    assert situation is not None
    assert situation.ahead > 1000
    assert "Seq Scan" not in {scan for plan in found for scan in plan.scans}
    assert {index for plan in found for index in plan.indexes} >= {PRIMARY_KEY, "partisan_task_ready"}


@pytest.mark.usefixtures("table")
def test_queues_and_failures_are_read_from_the_beginning_of_partial_indexes():
    fetch_all(connection, PREPARE, ("60000",))

    with plans(analyze=True) as found:
        queues = overview.queues_in_use(connection)
        overview.failing_kinds(connection, "default")
        overview.last_errors(connection, "default")

    names, *failures = found
    assert queues == ["default", "mail"]
    assert names.indexes >= {
        f"partisan_task_{name}" for name in ("ready", "upcoming", "in_process", "failed")
    }
    assert names.blocks < 500
    for plan in failures:
        assert "partisan_task_failed" in plan.indexes
        assert plan.blocks < 3 * overview.FAILURES_AT_MOST
    assert "Seq Scan" not in {scan for plan in found for scan in plan.scans}


@pytest.mark.usefixtures("table")
@pytest.mark.parametrize("without", [(), ("Bill",)], ids=["", "but for a processor"])
@pytest.mark.parametrize("behind", [None, (5, 1000)], ids=["from the start", "behind a row"])
def test_a_claim_reads_the_index_of_ready_tasks(behind, without):
    plan = plan_of(lambda: claiming.claim(connection, "default", MANAGER, 1, 100, behind, without))

    assert plan.indexes - {"django_partisan_manager_pkey"} == {"partisan_task_ready", PRIMARY_KEY}
    assert set(plan.scans) == {"Index Scan"}


@pytest.mark.usefixtures("table")
@pytest.mark.parametrize(
    ("act", "indexes"),
    [
        (lambda: check_queue(connection, "default", 100), {"upcoming", "ready"}),
        (lambda: check_queue(connection, "default", 100, ["Bill"]), {"upcoming", "ready"}),
        (lambda: waiting(connection, "default"), {"upcoming", "ready", "held"}),
        (lambda: holding.find_held(connection, "default", uuid4(), ["Bill"]), {"held"}),
        (lambda: holding.resume(connection, "default", "Bill", 100), {"held"}),
        (
            lambda: holding.fail_expired(
                connection, "default", 1.0, 100, ("type", "message"), ("type", "message")
            ),
            {"unregistered"},
        ),
        (lambda: leasing.heartbeat(connection, "default", uuid4()), {"in_process", "held"}),
        (
            lambda: rescuing.rescue(connection, "default", uuid4(), 1, dead(begun=[1], running=[2])),
            {"in_process"},
        ),
        (lambda: own_claims.claims(connection, "default", uuid4(), [1, 2]), {"in_process"}),
        (lambda: own_claims.move_claims(connection, "default", uuid4(), uuid4()), {"in_process"}),
        (lambda: list(FAILED.order_by("-finished_at")[:100]), {"failed"}),
    ],
    ids=[
        "check queue",
        "check queue but for",
        "waiting",
        "find held",
        "resume",
        "fail",
        "heartbeat",
        "rescue",
        "own claims",
        "keep",
        "failed, the latest first",
    ],
)
def test_a_statement_reads_its_partial_indexes_and_no_others(act, indexes):
    plan = plan_of(act)

    of_tasks = {index.name for index in Task._meta.indexes}
    assert plan.indexes & of_tasks == {f"partisan_task_{name}" for name in indexes}
    assert "Seq Scan" not in plan.scans
    assert plan.scans


@pytest.mark.usefixtures("table")
def test_what_a_crash_made_forgotten_is_found_by_primary_key():
    rows = [task_row(number) for number in range(1, 50)]

    plan = plan_of(lambda: restore(connection, MANAGER, rows))

    assert plan.indexes - {"django_partisan_manager_pkey"} == {PRIMARY_KEY}
    assert set(plan.scans) == {"Index Scan"}


@pytest.mark.usefixtures("table")
@pytest.mark.parametrize("after", [0, 25_000])
def test_a_batch_of_pruning_reads_the_primary_key_and_a_bounded_number_of_blocks(after):
    first = Task.objects.order_by("pk").values_list("pk", flat=True)[0]
    walk = Walk(rules_of_age(0, ["finished", "error"]), after=first + after, rows=500)
    pruning.take(connection, MANAGER, 300, 60, 1000)

    with transaction.atomic():
        pruning.limit_transaction(connection)  # as a manager does, whatever the table statistics are
        with plans(analyze=True) as found:
            pruning.prune_as(connection, MANAGER, walk, 0)
        transaction.set_rollback(True)

    [plan] = found
    ours = {name for name in plan.indexes if "chore" not in name}
    assert ours == {PRIMARY_KEY}
    assert set(plan.scans) == {"Index Scan"}
    assert plan.blocks < 8 * walk.read


EMPTY_TABLE = f"""
    CREATE SCHEMA fresh;
    CREATE TABLE fresh.{TABLE} (LIKE {TABLE} INCLUDING ALL);
    SET LOCAL search_path = fresh, public;
"""


def test_a_batch_of_pruning_reads_no_more_of_a_table_without_statistics():
    walk = Walk(rules_of_age(0, ["finished"]), after=25_000, rows=100, read=400)

    with transaction.atomic():
        execute(connection, EMPTY_TABLE)
        execute(connection, FILL)
        pruning.limit_transaction(connection)
        with plans(analyze=True) as found:
            pruning.prune(connection, walk)
        transaction.set_rollback(True)

    [plan] = found
    assert set(plan.scans) == {"Index Scan"}
    assert 0 < plan.blocks < 8 * walk.read


@contextmanager
def prepared_plans() -> Iterator[list[Plan]]:
    """Prepare and explain each preparable statement executed inside the block, as a session executes it."""
    found: list[Plan] = []
    done = set()

    def explain(execute: Any, sql: str, params: Any, many: bool, context: Any) -> Any:
        if not isinstance(sql, Preparable):
            return execute(sql, params, many, context)
        if sql.preparation not in done:
            execute(sql.preparation, None, many, context)
            done.add(sql.preparation)
        explained = sql.execution.replace("EXECUTE", "EXPLAIN (ANALYZE, BUFFERS, FORMAT JSON) EXECUTE")
        execute(explained, params, many, context)
        cursor = context["cursor"]
        while is_psycopg3 and cursor.nextset():
            pass
        [answer] = cursor.fetchone()
        found.append(Plan((json.loads(answer) if isinstance(answer, str) else answer)[0]["Plan"]))
        return execute(sql.execution, params, many, context)

    with connection.execute_wrapper(explain):
        yield found
    execute(connection, "DEALLOCATE ALL")


FAR_APART = [(number, 0) for number in (1, 25_000, 49_000, 50_000)]


@pytest.mark.parametrize("rows", [0, 100, 1500])
@pytest.mark.parametrize(
    "act",
    [
        *(
            partial(claiming.claim, connection, "default", MANAGER, 1, 10, behind, without)
            for behind in (None, (5, 1000))
            for without in ((), ("Bill",))
        ),
        partial(settling.delete_completed, connection, FAR_APART),
        partial(settling.finish_completed, connection, [(*pair, 0, "here:1", None) for pair in FAR_APART]),
        partial(settling.apply_changes, connection, [RowChange(*pair, "error") for pair in FAR_APART]),
    ],
)
def test_the_plan_of_a_prepared_statement_is_made_with_few_rows_and_good_for_many(act, rows):
    with transaction.atomic():
        execute(connection, EMPTY_TABLE)
        leasing.register(connection, MANAGER, "default", "here", 1, uuid4(), 30)
        execute(connection, FILL.replace("50000", str(rows)))
        execute(connection, f"ANALYZE {TABLE}")
        with prepared_plans() as found:
            act()
            execute(connection, FILL)
            act()
        transaction.set_rollback(True)

    for plan in found:
        assert plan.scans
        assert set(plan.scans) <= {"Index Scan", "Index Only Scan"}
        assert plan.blocks < 60


def test_a_heartbeat_does_not_scan_the_table_for_held_tasks_however_many_there_are_behind_other_rows():
    with transaction.atomic():
        execute(connection, EMPTY_TABLE)
        execute(connection, FILL)
        execute(connection, SET_ASIDE, (20_000,))
        execute(connection, f"ANALYZE {TABLE}")
        with plans(analyze=True) as found:
            answer = leasing.heartbeat(connection, "default", MANAGER)
        transaction.set_rollback(True)

    [plan] = found
    assert answer.has_held
    assert "Seq Scan" not in plan.scans
    assert 0 < plan.blocks < 100


@pytest.mark.usefixtures("table")
def test_counting_what_would_be_pruned_reads_the_primary_key():
    walk = Walk(rules_of_age(0, ["finished"]), read=10_000, rows=10_000)

    plan = plan_of(lambda: pruning.count(connection, walk))

    assert plan.indexes == {PRIMARY_KEY}
    assert set(plan.scans) == {"Index Scan"}


@pytest.mark.usefixtures("table")
def test_a_rescue_costs_the_same_for_each_task_of_a_queue_that_the_statistics_do_not_know():
    number = 4000
    execute(connection, IN_PROCESS, (UUID(int=2), number))

    def blocks(limit: int) -> int:
        """Rescue up to ``limit`` tasks and roll back; return how many blocks that read."""
        with transaction.atomic():
            with plans(analyze=True) as found:
                rescuing.rescue(connection, "new here", MANAGER, 1, dead(), limit)
            transaction.set_rollback(True)
        return found[0].blocks

    few, many = blocks(number // 8), blocks(number)

    assert many <= 8 * few * 1.5


@pytest.mark.usefixtures("table")
def test_the_check_for_a_twin_uses_the_unique_index_of_waiting_tasks():
    plan = plan_of(lambda: Letter(1).delay())

    assert plan.arbiters == {"partisan_task_twin"}
    assert plan.scans == []


@pytest.mark.usefixtures("table")
def test_the_depth_figures_read_partial_indexes_only():
    query = StatisticsQuery("default", 30)
    query._connection = own = open_connection("figures")
    try:
        with plans(own) as found:
            counted = query.read()
    finally:
        query.close()

    [*_, plan, _of_schedules] = found
    assert (counted.in_process, counted.error) == (200, 1000)
    assert counted.due + counted.scheduled == 4000
    ours = {name for name in plan.indexes if name.startswith(("partisan", "django_partisan_task"))}
    assert ours == {
        "partisan_task_ready",
        "partisan_task_upcoming",
        "partisan_task_in_process",
        "partisan_task_failed",
        "partisan_task_held",
    }
    assert set(plan.scans) <= {"Index Scan", "Index Only Scan"}


def plan_of_claim() -> Plan:
    """Claim 100 tasks and roll back; return the plan with the blocks read."""
    with transaction.atomic():
        with plans(analyze=True) as found:
            claim(connection, "default", MANAGER, 100)
        transaction.set_rollback(True)
    return found[0]


@pytest.mark.usefixtures("table")
def test_tasks_scheduled_ahead_at_the_highest_priority_leave_a_claims_plan_and_cost_as_they_are():
    for _ in range(8):  # each rolled-back claim leaves row versions that the next one reads
        plan_of_claim()
    before = plan_of_claim()
    execute(connection, SCHEDULE, (SCHEDULED_AHEAD,))
    execute(connection, f"ANALYZE {TABLE}")

    after = plan_of_claim()

    assert (after.indexes, after.scans) == (before.indexes, before.scans)
    assert after.blocks <= before.blocks * 1.5 + 50
