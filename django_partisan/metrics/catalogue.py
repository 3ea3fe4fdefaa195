"""Declare every metric of the library, in one table for code, documentation and tests."""

from collections.abc import Iterable, Iterator
from typing import Final

from django_partisan import outcomes
from django_partisan.config import observability
from django_partisan.metrics.metric import COUNTER, GAUGE, HISTOGRAM, INFO, OTHER, Key, Labels, Metric
from django_partisan.schedules.tick_record import TICK_OUTCOMES

METRICS: Final[dict[str, Metric]] = {}
"""The metrics by name, in the order in which they are documented and exported."""

NO_TASK: Final = "_none"
BOOLEANS: Final = ("false", "true")
WORKER_STATES: Final = ("starting", "idle", "busy")

DROPPED_PIPE: Final = "pipe_broken"
DROPPED_CONTEXT: Final = "context"
DROPPED_FLUSH: Final = "flush_timeout"
DROPPED_UNKNOWN: Final = "unknown_metric"

STATEMENT_BUCKETS: Final = (0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10)

_CACHED = (
    "From the database, at most METRICS_DB_MIN_INTERVAL older than the scrape; the same in every manager."
)
_SCHEDULES = (
    "Covers the first 200 schedules in alphabetical order; the others share the series `_other`, which has"
)
_EARLIEST = f"{_SCHEDULES} the earliest time. {_CACHED}"
_LARGEST = f"{_SCHEDULES} the largest value. {_CACHED}"


def _declare(
    name: str,
    kind: str,
    names_of_labels: str,
    sources: str,
    question: str,
    text: str,
    buckets: tuple[float, ...] = (),
    **values: Labels,
) -> Metric:
    """Add a metric to the table; ``values`` has the values of each label with a fixed list."""
    names = tuple(names_of_labels.split())
    metric = Metric(name, kind, names, tuple(sources.split()), question, text, buckets, values)
    METRICS[name] = metric
    return metric


def bounds(metric: Metric) -> tuple[float, ...]:
    """Return the upper bounds of a histogram, with the current settings."""
    if metric is TASK_DURATION:
        return tuple(observability.value("DURATION_BUCKETS"))
    if metric is TASK_QUEUE_WAIT:
        return tuple(observability.value("WAIT_BUCKETS"))
    return metric.buckets


def initial_series(metric: Metric, queue: str, processors: Iterable[str]) -> Iterator[Key]:
    """Yield the series of a metric to export as 0 before the first event.

    Of a processor's durations, yield only those of completed runs: five histograms for each processor would
    be most of a scrape, and the counters show its first failure.
    """
    for key in metric.initial_series(queue, processors):
        if metric is not TASK_DURATION or key[1][-1] == outcomes.COMPLETED:
            yield key
    if metric is WORKER_CRASHES:
        yield metric.name, (queue, NO_TASK)
    if metric is TASKS_FAILED:  # a processor that is not registered counts as _other
        yield metric.name, (queue, OTHER, outcomes.REASON_UNREGISTERED)


# Each metric in a few lines: what it is, its question, its help, and its buckets or label values.
# fmt: off

# Tasks.

TASKS_ENQUEUED = _declare(
    "partisan_tasks_enqueued_total", COUNTER, "queue processor scheduled", "W app",
    "How many tasks are being enqueued from inside tasks (with CLIENT_METRICS, also by the application)?",
    "Tasks enqueued from inside tasks, by the queue that they were added to.",
    scheduled=BOOLEANS,
)
TASKS_DEDUPLICATED = _declare(
    "partisan_tasks_deduplicated_total", COUNTER, "queue processor", "W app",
    "How many calls find a waiting duplicate?",
    "Calls from inside tasks for which a duplicate was already waiting.",
)
TASKS_CLAIMED = _declare(
    "partisan_tasks_claimed_total", COUNTER, "queue", "M",
    "Are tasks being claimed?",
    "Tasks claimed.",
)
TASKS_STARTED = _declare(
    "partisan_tasks_started_total", COUNTER, "queue processor", "W",
    "Are runs starting?",
    "Runs that started, counted at the same time as their outcome.",
)
TASKS_COMPLETED = _declare(
    "partisan_tasks_completed_total", COUNTER, "queue processor", "W",
    "How many runs are completing?",
    "Runs that completed.",
)
TASKS_POSTPONED = _declare(
    "partisan_tasks_postponed_total", COUNTER, "queue processor", "W",
    "How many runs are being postponed?",
    "Runs whose task asked to run again later.",
)
TASKS_RETRIED = _declare(
    "partisan_tasks_retried_total", COUNTER, "queue processor", "W",
    "How many runs are being retried?",
    "Runs that ended with an error and will be retried.",
)
TASKS_FAILED = _declare(
    "partisan_tasks_failed_total", COUNTER, "queue processor reason", "W M",
    "How many tasks are failing, and why?",
    "Tasks that failed and will not run again.",
    reason=outcomes.FAILURE_REASONS,
)
RUNS_INTERRUPTED = _declare(
    "partisan_runs_interrupted_total", COUNTER, "queue reason", "M",
    "Are runs being interrupted?",
    "Runs that were interrupted because they exceeded their time limit or because their task was cancelled.",
    reason=(outcomes.REASON_TIMEOUT, outcomes.REASON_CANCELLED),
)
TASK_ERRORS = _declare(
    "partisan_task_errors_total", COUNTER, "queue processor error_type outcome", "W M",
    "Which errors are occurring?",
    "Errors that led to a retry or a failure, by class.",
    outcome=(outcomes.RETRIED, outcomes.FAILED),
)
TASKS_ENQUEUE_FAILED = _declare(
    "partisan_tasks_enqueue_failed_total", COUNTER, "queue processor", "W app",
    "Are inserts failing?",
    "Failed inserts of tasks, attempted from inside tasks.",
)
TASKS_RESCUED = _declare(
    "partisan_tasks_rescued_total", COUNTER, "queue reason", "M",
    "Are tasks being rescued after crashes?",
    "Tasks taken over from a lost worker or manager, to be run again.",
    reason=(outcomes.REASON_MANAGER_LOST, outcomes.REASON_WORKER_LOST, outcomes.REASON_STOPPED),
)
TASKS_RELEASED = _declare(
    "partisan_tasks_released_total", COUNTER, "queue reason", "M",
    "Are tasks being released?",
    "Claimed tasks that were released before they started.",
    reason=(outcomes.REASON_STOPPED, outcomes.REASON_SHARED, outcomes.REASON_PAUSED),
)
TASKS_REQUEUED = _declare(
    "partisan_tasks_requeued_total", COUNTER, "queue processor", "W app",
    "How many failed tasks are being requeued?",
    "Failed tasks that were requeued from inside tasks.",
)
TASKS_CHANGED = _declare(
    "partisan_tasks_changed_total", COUNTER, "queue change", "W app",
    "How many tasks are operators changing?",
    "Tasks that were made due, given another priority, or deleted from inside tasks.",
    change=outcomes.CHANGES,
)
TASKS_CANCELLED = _declare(
    "partisan_tasks_cancelled_total", COUNTER, "queue processor", "W M app",
    "How many tasks are being cancelled?",
    "Tasks that were cancelled, before or during their run.",
)
TASKS_EXPIRED = _declare(
    "partisan_tasks_expired_total", COUNTER, "queue processor", "M",
    "How many tasks are expiring?",
    "Tasks that had not started when they expired, and ended without a run.",
)
TASKS_HELD = _declare(
    "partisan_tasks_held_total", COUNTER, "queue reason", "M",
    "Are tasks being held?",
    "Tasks that were held because no manager could run them; they are resumed when a manager can run them.",
    reason=outcomes.HELD_REASONS,
)
TASKS_PRUNED = _declare(
    "partisan_tasks_pruned_total", COUNTER, "queue status", "M",
    "Are old rows being deleted?",
    "Rows of all queues that this manager pruned.",
    status=("finished", "error"),
)
TASKS_CLAIM_LOST = _declare(
    "partisan_tasks_claim_lost_total", COUNTER, "queue", "M",
    "Are managers losing claims?",
    "Outcomes that were not written because the manager had lost the claim.",
)
TASK_DURATION = _declare(
    "partisan_task_duration_seconds", HISTOGRAM, "queue processor outcome", "W",
    "How long do runs take?",
    "Duration of run().",
    observability.DURATION_BUCKETS,
    outcome=(*outcomes.OUTCOMES, outcomes.CANCELLED),
)
TASK_QUEUE_WAIT = _declare(
    "partisan_task_queue_wait_seconds", HISTOGRAM, "queue processor", "W",
    "How long do due tasks wait?",
    "Time from the due time of a task to its start, by the database's clock.",
    observability.WAIT_BUCKETS,
)
TASK_ATTEMPTS = _declare(
    "partisan_task_attempts", HISTOGRAM, "queue", "W",
    "How many runs does a task need?",
    "Number of runs that a task needed until it completed or failed.",
    (1, 2, 3, 5, 10, 20),
)

# The manager and its workers.

TASKS_IN_PROGRESS = _declare(
    "partisan_tasks_in_progress", GAUGE, "queue processor", "M",
    "What is running now?",
    "Runs in progress.",
)
OLDEST_RUN_AGE = _declare(
    "partisan_oldest_run_age_seconds", GAUGE, "queue processor", "M",
    "Which runs may be stuck?",
    "Age of the oldest run in progress, 0 if there is none.",
)
RUN_LIMIT = _declare(
    "partisan_run_limit_seconds", GAUGE, "queue processor", "M",
    "Is a run exceeding its limit?",
    "Time limit of a processor plus INTERRUPT_GRACE_SECONDS; absent if the processor has no limit.",
)
LAST_TASK_FINISHED = _declare(
    "partisan_last_task_finished_timestamp_seconds", GAUGE, "queue", "M",
    "When did a run last end?",
    "When the last outcome arrived; absent until the first one has arrived.",
)
BUFFER_TASKS = _declare(
    "partisan_buffer_tasks", GAUGE, "queue", "M",
    "How full is the buffer?",
    "Claimed tasks that have not started.",
)
BUFFER_LIMIT = _declare(
    "partisan_buffer_limit", GAUGE, "queue", "M",
    "How full is the buffer?",
    "The value of MAX_QUEUE_SIZE.",
)
WORKERS = _declare(
    "partisan_workers", GAUGE, "queue state", "M",
    "Is the pool alive and busy?",
    "Live workers by state.",
    state=WORKER_STATES,
)
WORKERS_CONFIGURED = _declare(
    "partisan_workers_configured", GAUGE, "queue", "M",
    "How many workers should there be?",
    "The value of WORKERS_COUNT.",
)
WORKER_EXITS = _declare(
    "partisan_worker_exits_total", COUNTER, "queue reason", "M",
    "Are workers dying?",
    "Workers that exited, by reason. The reason `stopped` includes workers that were killed by a forced "
    "stop; with `timeout` and `cancelled`, a worker was killed because an interrupted run did not end.",
    reason=(
        outcomes.REASON_RECYCLED, outcomes.REASON_STOPPED, outcomes.REASON_ERROR, outcomes.REASON_SIGNAL,
        outcomes.REASON_TIMEOUT, outcomes.REASON_CANCELLED
    ),
)
WORKER_CRASHES = _declare(
    "partisan_worker_crashes_total", COUNTER, "queue processor", "M",
    "Which kinds of task are killing workers?",
    "Workers that died because of an error or a signal, by the processor that they were running; `_none` if "
    "they were running no task.",
)
MAX_CRASHES = _declare(
    "partisan_max_crashes", GAUGE, "queue", "M",
    "How many workers may one task kill?",
    "MAX_CRASHES: how many times a task is run again after its worker died. After that, the task fails.",
)
WORKER_CPU = _declare(
    "partisan_worker_cpu_seconds_total", COUNTER, "queue worker", "M",
    "Which worker is using the CPU?",
    "User and system CPU time of the workers of a slot.",
)
WORKER_MEMORY = _declare(
    "partisan_worker_resident_memory_bytes", GAUGE, "queue worker", "M",
    "Which worker is using the memory?",
    "Resident memory of the worker of a slot.",
)
WORKER_PEAK_MEMORY = _declare(
    "partisan_worker_peak_resident_memory_bytes", GAUGE, "queue worker", "M",
    "How much memory do workers need?",
    "Highest resident memory of any worker of a slot since the manager's start.",
)
MEMORY_LIMIT = _declare(
    "partisan_memory_limit_bytes", GAUGE, "queue", "M",
    "How much memory is there?",
    "Memory of the host, or the memory limit of a control group of the manager, whichever has the least "
    "memory left. Absent if it is not known.",
)
MEMORY_USED = _declare(
    "partisan_memory_used_bytes", GAUGE, "queue", "M",
    "Is memory running out?",
    "Memory in use by all processes of the host or control group of partisan_memory_limit_bytes, without the "
    "memory that the kernel can reclaim (in a control group: the inactive page cache).",
)
CLAIMS = _declare(
    "partisan_claims_total", COUNTER, "queue", "M",
    "Is polling useful?",
    "Claims that the database answered, whether or not they found a row, and polls by an idle manager that "
    "found nothing.",
)
CLAIMS_EMPTY = _declare(
    "partisan_claims_empty_total", COUNTER, "queue", "M",
    "Is polling useful?",
    "Claims that found no row, and polls by an idle manager that found nothing to claim.",
)
CLAIM_ERRORS = _declare(
    "partisan_claim_errors_total", COUNTER, "queue", "M",
    "Is polling failing?",
    "Failed claims, and failed polls and heartbeats on which a claim depends.",
)
CLAIM_DURATION = _declare(
    "partisan_claim_duration_seconds", HISTOGRAM, "queue", "M",
    "Is claiming slow?",
    "Duration of a claim.",
    STATEMENT_BUCKETS,
)
SETTLE_DURATION = _declare(
    "partisan_settle_duration_seconds", HISTOGRAM, "queue", "M",
    "Is settling slow?",
    "Duration of a settlement.",
    STATEMENT_BUCKETS,
)
SETTLE_BATCH = _declare(
    "partisan_settle_batch_tasks", HISTOGRAM, "queue", "M",
    "Is group commit working?",
    "Outcomes written by one settlement.",
    (1, 2, 5, 10, 20, 50, 100, 200, 500, 1000, 2000, 5000),
)
SETTLE_ERRORS = _declare(
    "partisan_settle_errors_total", COUNTER, "queue", "M",
    "Are outcomes delayed?",
    "Settlements that failed.",
)
UNSETTLED_TASKS = _declare(
    "partisan_unsettled_tasks", GAUGE, "queue", "M",
    "Are outcomes delayed?",
    "Outcomes that have not been written yet.",
)
LEASE_LOST = _declare(
    "partisan_manager_lease_lost_total", COUNTER, "queue", "M",
    "Did the manager lose its lease?",
    "How many times the manager's lease expired.",
)
WORKER_BUSY = _declare(
    "partisan_worker_busy_seconds_total", COUNTER, "queue worker", "M",
    "How busy are the workers?",
    "Time that the workers of a slot spent in runs. Includes runs shorter than the scrape interval.",
)
LAST_LOOP = _declare(
    "partisan_manager_last_loop_timestamp_seconds", GAUGE, "queue", "M",
    "Is the loop alive?",
    "When the manager's loop last ran.",
)
LAST_CLAIM = _declare(
    "partisan_manager_last_claim_timestamp_seconds", GAUGE, "queue", "M",
    "Is the loop alive?",
    "When the database last answered a claim, or a poll by an idle manager; absent until the first answer.",
)
DRAINING = _declare(
    "partisan_manager_draining", GAUGE, "queue", "M",
    "Is the manager stopping?",
    "1 while the manager is draining, else 0.",
)
QUEUE_PAUSED = _declare(
    "partisan_queue_paused", GAUGE, "queue", "M",
    "Is the queue paused?",
    "1 while the manager starts no tasks because its queue is paused, else 0.",
)
QUEUE_PAUSED_SECONDS = _declare(
    "partisan_queue_paused_seconds", GAUGE, "queue", "M",
    "Was a pause forgotten?",
    "How long the queue has been paused, 0 if it is not paused.",
)
MAX_WAIT = _declare(
    "partisan_queue_max_wait_seconds", GAUGE, "queue", "M",
    "How long may a task wait?",
    "MAX_WAIT_SECONDS, the wait objective of the queue; absent if the queue has none.",
)
BUILD_INFO = _declare(
    "partisan_build_info", INFO, "version django python postgresql", "M",
    "Which versions are running where?",
    "Versions in use.",
)

# The table.

QUEUE_TASKS = _declare(
    "partisan_queue_tasks", GAUGE, "queue state", "D",
    "How deep is the backlog?",
    "Tasks in the table by state. Counts up to 100000 are exact; higher counts are estimates by PostgreSQL's "
    f"planner. The state `error` does not include cancelled and expired tasks. {_CACHED}",
)
QUEUE_HELD_TASKS = _declare(
    "partisan_queue_held_tasks", GAUGE, "queue processor reason", "D",
    "Which tasks are held, and why?",
    f"Held tasks of at most 50 processors; the count for each processor stops at 10000. {_CACHED}",
)
OLDEST_DUE_AGE = _declare(
    "partisan_queue_oldest_due_age_seconds", GAUGE, "queue", "D",
    "How late is the queue?",
    f"How long the oldest waiting task has been due, 0 if there is none. {_CACHED}",
)
OLDEST_DUE_TASK_AGE = _declare(
    "partisan_oldest_due_task_age_seconds", GAUGE, "queue processor", "D",
    "Which kind of task is late?",
    "How long the oldest waiting task has been due, with the processor of that task; absent if there is "
    f"none. {_CACHED}",
)
UNSERVED_DUE_TASKS = _declare(
    "partisan_unserved_due_tasks", GAUGE, "queue", "D",
    "Which queues are waiting for a manager?",
    "Due tasks of each queue that no live manager serves; a queue without due tasks has no series. Covers at "
    f"most 20 queues; the count for each queue stops at 1000. {_CACHED}",
)
MANAGERS_ALIVE = _declare(
    "partisan_managers_alive", GAUGE, "queue", "D",
    "How many managers serve this queue, on all hosts?",
    "Managers whose lease has not expired, not counting workers that have lost their manager. "
    f"Queues that only other managers serve also have a series each, up to 200 of them. {_CACHED}",
)
SCHEDULE_TICKS = _declare(
    "partisan_schedule_ticks_total", COUNTER, "schedule outcome", "D",
    "What happened to the ticks?",
    "Ticks of a schedule by outcome, counted across all managers. Covers the first 200 schedules in "
    f"alphabetical order. {_CACHED}",
    outcome=TICK_OUTCOMES,
)
SCHEDULE_NEXT_TICK = _declare(
    "partisan_schedule_next_tick_timestamp_seconds", GAUGE, "schedule", "D",
    "When is the next tick?",
    "Time of a schedule's next tick, by the database's clock; absent while the schedule is paused or "
    f"stopped. {_EARLIEST}",
)
SCHEDULE_LAST_TICK = _declare(
    "partisan_schedule_last_tick_timestamp_seconds", GAUGE, "schedule", "D",
    "When was the last tick?",
    f"Time of a schedule's last tick, whatever its outcome; absent until the first tick. {_SCHEDULES} the "
    f"latest time. {_CACHED}",
)
SCHEDULE_LAST_COMPLETED = _declare(
    "partisan_schedule_last_completed_timestamp_seconds", GAUGE, "schedule", "D",
    "When did a task of the schedule last complete?",
    "When a task of a schedule last completed, accurate to a minute; absent until one has completed. "
    f"{_EARLIEST}",
)
SCHEDULE_LATENESS = _declare(
    "partisan_schedule_lateness_seconds", GAUGE, "schedule", "D",
    "Is the schedule ticking on time?",
    f"How long a tick has been due without being enqueued, 0 if there is none. {_LARGEST}",
)
SCHEDULE_OPEN = _declare(
    "partisan_schedule_open_seconds", GAUGE, "schedule", "D",
    "Are the tasks of the schedule ending?",
    f"Age of the oldest tick whose task is not known to have ended, 0 if there is none. {_SCHEDULES} the "
    "largest value of those that are not paused and whose tick has been open for over 300 s longer than the "
    f"time between two ticks. {_CACHED}",
)
SCHEDULE_LAST_FAILED = _declare(
    "partisan_schedule_last_failed", GAUGE, "schedule", "D",
    "Are the tasks of the schedule completing?",
    "1 if the most recently ended task of a schedule failed, accurate to a minute; 0 otherwise, and while "
    f"the schedule is paused or stopped. {_LARGEST}",
)
TABLE_INSERTS = _declare(
    "partisan_task_table_inserts_total", COUNTER, "", "D",
    "How fast are tasks being enqueued by all processes?",
    f"Rows inserted into the task table, according to PostgreSQL's own statistics. {_CACHED}",
)
TABLE_LIVE_ROWS = _declare(
    "partisan_task_table_live_rows", GAUGE, "", "D",
    "Is the table bloating?",
    f"Live rows in the task table, as estimated by PostgreSQL. {_CACHED}",
)
TABLE_DEAD_ROWS = _declare(
    "partisan_task_table_dead_rows", GAUGE, "", "D",
    "Is the table bloating?",
    f"Dead rows in the task table, as estimated by PostgreSQL. {_CACHED}",
)
TABLE_BYTES = _declare(
    "partisan_task_table_bytes", GAUGE, "", "D",
    "Is the table bloating?",
    f"Size of the task table, including its indexes. {_CACHED}",
)
LAST_PRUNE = _declare(
    "partisan_last_prune_timestamp_seconds", GAUGE, "", "D",
    "When did a manager last prune?",
    "When a manager last pruned rows, by the database's clock; absent until a manager has pruned rows. "
    f"{_CACHED}",
)
OLDEST_TRANSACTION_AGE = _declare(
    "partisan_oldest_transaction_age_seconds", GAUGE, "", "D",
    "What is holding vacuum back?",
    f"Age of the oldest visible open transaction in the database, 0 if there is none. {_CACHED}",
)
DB_UP = _declare(
    "partisan_db_up", GAUGE, "queue", "D",
    "Are the metrics from the database current?",
    "1 if PostgreSQL answered the last query for metrics, else 0. An error because a table, column or "
    "privilege is missing also counts as an answer.",
)
DB_WRITABLE = _declare(
    "partisan_db_writable", GAUGE, "queue", "D",
    "Can heartbeats and outcomes be written?",
    f"1 if the server accepts writes, 0 if it is a standby or set to read-only. {_CACHED}",
)
DB_SCHEDULES_READABLE = _declare(
    "partisan_db_schedules_readable", GAUGE, "queue", "D",
    "Are the metrics of schedules available?",
    "1 if the query for the metrics of schedules succeeded, 0 if it failed and these metrics are absent. "
    f"{_CACHED}",
)
DB_SCRAPE_DURATION = _declare(
    "partisan_db_scrape_duration_seconds", GAUGE, "queue", "D",
    "Is the query for metrics slow?",
    "Duration of the last query for metrics.",
)
DB_DATA_AGE = _declare(
    "partisan_db_data_age_seconds", GAUGE, "queue", "D",
    "Are the metrics from the database current?",
    "Age of the metrics from the database; absent if there are none.",
)
DB_CLOCK_SKEW = _declare(
    "partisan_db_clock_skew_seconds", GAUGE, "queue", "D",
    "Do the clocks agree?",
    f"The database's clock minus the manager's. {_CACHED}",
)

# Telemetry itself.

TELEMETRY_MESSAGES = _declare(
    "partisan_telemetry_messages_total", COUNTER, "queue", "M",
    "Are reports from workers arriving?",
    "Messages from workers that carried metrics.",
)
TELEMETRY_DROPPED = _declare(
    "partisan_telemetry_dropped_total", COUNTER, "queue reason", "M",
    "Is telemetry being lost?",
    "Dropped telemetry, such as log lines and spans, by reason.",
    reason=(
        DROPPED_PIPE, DROPPED_CONTEXT, DROPPED_FLUSH, DROPPED_UNKNOWN,
        # From tracing and logs, with TelemetryDropped. Each is exported as 0, so that its first loss raises
        # an alert.
        "span_queue_full", "span_export_failed", "span_not_flushed", outcomes.REASON_WORKER_LOST,
        "log_output_stalled", "log_handler_stalled",
    ),
)
LABEL_OVERFLOW = _declare(
    "partisan_telemetry_label_overflow_total", COUNTER, "label", "W M",
    "Which labels have too many values?",
    "Increments that were added to `_other` because a label had too many values.",
    label=("processor", "error_type"),
)
TELEMETRY_ERRORS = _declare(
    "partisan_telemetry_errors_total", COUNTER, "signal", "W M",
    "Are logs, traces or metrics failing?",
    "Errors in logs, traces and metrics that were caught.",
    signal=("logs", "traces", "metrics"),
)
# fmt: on
