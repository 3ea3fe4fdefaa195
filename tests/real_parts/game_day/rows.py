"""The table of the game day: each fault, and the alerts that it raises."""

from typing import Final

from tests.real_parts.game_day import database_faults, process_faults, task_faults, telemetry_faults
from tests.real_parts.game_day.site import SiteOptions
from tests.real_parts.game_day.verdict import CRITICAL, WARNING, Row

# Lost spans are counted once a minute, which is too late to be muted by the shortened rules.
_OF_LOST_SPANS: Final = "PartisanTelemetryDropping"
_OF_CRASHES: Final = (
    "PartisanTasksRescued",
    "PartisanTaskFailureRatioHigh",
    "PartisanTaskNotCompleting",
    _OF_LOST_SPANS,
)

_ALL: Final = (
    Row("healthy", "none; the manager is replaced three times", process_faults.rolling_restarts, ()),
    # Managers and their helpers.
    Row(
        "manager-killed",
        "the only manager is killed",
        process_faults.manager_killed,
        ("PartisanManagerMissing",),
        also_allowed=("PartisanTasksRescued",),
    ),
    Row(
        "manager-stopped",
        "the process of the only manager is suspended (SIGSTOP)",
        process_faults.manager_stopped,
        ("PartisanManagerMissing",),
        also_allowed=("PartisanLeaseLost",),
    ),
    Row(
        "manager-drained",
        "the only manager is stopped while tasks are due",
        process_faults.manager_drained,
        ("PartisanManagerMissing",),
    ),
    Row(
        "drain-hangs",
        "a manager does not finish draining",
        process_faults.drain_hangs,
        ("PartisanDrainHangs",),
    ),
    Row(
        "port-unreachable",
        "a manager is alive, but its port cannot be reached",
        process_faults.port_unreachable,
        ("PartisanManagerNotScraped",),
        also_allowed=("PartisanManagerDown",),
    ),
    Row("fork-server-killed", "the fork server is killed", process_faults.fork_server_killed, ()),
    # Tasks.
    Row(
        "kind-fails",
        "all tasks of one processor fail",
        task_faults.fails(100),
        ("PartisanTaskFailureRatioHigh",),
        named="Charge",
    ),
    Row(
        "kind-fails-20",
        "20 % of the tasks of one processor fail",
        task_faults.fails(20),
        ("PartisanTaskFailureRatioHigh",),
        named="Charge",
    ),
    Row("kind-fails-6", "6 % of the tasks of one processor fail", task_faults.fails(6), ()),
    Row(
        "crash-loop",
        "the tasks of one processor kill their workers",
        task_faults.stream("Render", per_second=1),
        ("PartisanWorkersCrashLooping",),
        severity=WARNING,
        also_allowed=_OF_CRASHES,
    ),
    Row(
        "crash-loops",
        "tasks of several processors kill their workers",
        task_faults.several_kinds_crash,
        ("PartisanWorkersCrashLooping",),
        severity=CRITICAL,
        also_allowed=_OF_CRASHES,
    ),
    Row(
        "poison-task",
        "one task kills each worker that runs it",
        task_faults.one("Render"),
        ("PartisanTasksRescued",),
        also_allowed=("PartisanTaskNotCompleting", _OF_LOST_SPANS),
    ),
    Row(
        "retry-storm",
        "every run of one processor ends with an error that leads to a retry",
        task_faults.stream("Fetch", per_second=4),
        ("PartisanRetryStorm",),
        named="Fetch",
    ),
    Row(
        "postpone-storm",
        "every run of one processor is postponed",
        task_faults.stream("Poll", per_second=4),
        ("PartisanPostponeStorm",),
        named="Poll",
    ),
    Row(
        "backlog",
        "more tasks are enqueued than the workers can run",
        task_faults.backlog_grows,
        ("PartisanQueueLatencyHigh", "PartisanWorkersSaturated", "PartisanQueueGrowing"),
    ),
    Row(
        "objective-missed",
        "tasks wait for longer than `MAX_WAIT_SECONDS`",
        task_faults.objective_missed,
        ("PartisanQueueLatencyCritical",),
        also_allowed=("PartisanWorkersSaturated", "PartisanQueueLatencyHigh", "PartisanQueueGrowing"),
    ),
    Row(
        "starving",
        "tasks of low priority wait while other tasks run",
        task_faults.low_priorities_starve,
        ("PartisanQueueLatencyHigh",),
        also_allowed=("PartisanWorkersSaturated",),
        named="HurriedLast",
    ),
    Row(
        "run-stuck",
        "one run lasts far longer than other runs of its processor",
        task_faults.run_stuck,
        ("PartisanTaskRunningTooLong",),
        named="Nap",
    ),
    Row(
        "unregistered",
        "no manager has registered the processor of some tasks",
        task_faults.cancelled("Announce", count=3),
        ("PartisanTasksHeld",),
        named="Announce",
    ),
    Row(
        "unserved",
        "tasks are due in a queue without a manager",
        task_faults.cancelled("Report", count=3),
        ("PartisanQueueUnserved",),
        named="reports",
    ),
    Row(
        "nightly-fails",
        "a task that runs once a day fails",
        task_faults.nightly_fails,
        ("PartisanScheduleNotCompleting", "PartisanTaskNotCompleting"),
        named="nightly",
    ),
    Row("memory-hog", "one task uses 700 MB of memory", task_faults.memory_hog, ("PartisanWorkerMemory",)),
    Row(
        "duplicates",
        "the same task is enqueued again and again",
        task_faults.stream("Reindex", 1, per_second=30),
        (),
    ),
    # The database.
    Row(
        "database-down",
        "PostgreSQL is down",
        database_faults.database_down,
        ("PartisanDatabaseUnreachable",),
    ),
    Row(
        "table-locked",
        "a session locks the task table",
        database_faults.table_locked,
        ("PartisanDatabaseUnreachable",),
        logged=r"locked by session \d+",
    ),
    Row(
        "connections-used-up",
        "all connections to PostgreSQL are in use",
        database_faults.connections_used_up,
        ("PartisanDatabaseUnreachable",),
        options=SiteOptions(database={"max_connections": str(database_faults.CONNECTIONS)}),
    ),
    Row(
        "read-only",
        "PostgreSQL becomes read-only",
        database_faults.read_only,
        ("PartisanDatabaseReadOnly",),
    ),
    Row(
        "long-transaction",
        "a transaction stays open",
        database_faults.long_transaction,
        ("PartisanOldTransaction",),
    ),
    Row(
        "column-missing",
        "a column is missing after a bad deploy",
        database_faults.column_missing,
        ("PartisanClaimErrors",),
        logged="priority",
    ),
    Row(
        "enqueueing-fails",
        "PostgreSQL refuses to insert tasks that other tasks enqueue",
        database_faults.enqueueing_fails,
        ("PartisanEnqueueFailing",),
        also_allowed=("PartisanTaskFailureRatioHigh", "PartisanTaskNotCompleting"),
        named="shop",
    ),
    Row(
        "clock-ahead",
        "the clock of a manager is 8 s ahead",
        database_faults.clock_ahead,
        ("PartisanClockSkew",),
    ),
    # Telemetry.
    Row(
        "collector-refuses",
        "the collector refuses spans",
        telemetry_faults.collector("refuse"),
        ("PartisanTelemetryDropping",),
        named="span_export_failed",
    ),
    Row(
        "collector-hangs",
        "the collector does not answer",
        telemetry_faults.collector("hang"),
        ("PartisanTelemetryDropping",),
    ),
    Row(
        "log-disk-full",
        "the disk for the log file is full",
        telemetry_faults.log_disk_full,
        ("PartisanTelemetryDropping",),
        options=SiteOptions(log_file=True),
    ),
)

ROWS: Final = {row.name: row for row in _ALL}

CUT: Final = (
    "healthy",
    "manager-killed",
    "kind-fails",
    "poison-task",
    "retry-storm",
    "unserved",
    "table-locked",
    "read-only",
    "port-unreachable",
    "log-disk-full",
)
"""The rows that ``--cut`` runs: one for each question that an operator asks first."""
