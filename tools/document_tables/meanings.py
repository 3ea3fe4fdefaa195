"""What each setting means, in a sentence; the rest of its row comes from the code."""

from typing import Final

QUEUE: Final = {
    "MIN_QUEUE_SIZE": "Claim more once no more than this many tasks are claimed and not begun.",
    "MAX_QUEUE_SIZE": "Claim up to this many tasks ahead.",
    "CHECKS_BEFORE_CLEANUP": "After this many claims, drop the claiming connection if it is of no more use.",
    "WORKERS_COUNT": "Number of worker processes.",
    "SLEEP_DELAY_SECONDS": "Longest time between two looks at the queue when nobody wakes the manager.",
    "TASKS_PER_WORKER_INSTANCE": "Replace a worker by a fresh process after this many tasks; `None`: never.",
    "DELETE_TASKS_ON_COMPLETE": "Delete the row of a completed task instead of keeping it as `finished`.",
    "DEFAULT_POSTPONE_DELAY_SECONDS": "Delay of a `PostponeTask()` that names none.",
    "DEFAULT_POSTPONES_COUNT": "How often a task may be postponed; `None`: for ever.",
    "LEASE_SECONDS": "A manager silent for this long counts as dead; it speaks three times as often.",
    "MAX_CRASHES": "A task is run again after so many deaths of its worker; one more, and it fails.",
    "LISTEN": "Be woken by `LISTEN`/`NOTIFY`; `False`: only look every `SLEEP_DELAY_SECONDS`.",
    "STOP_TIMEOUT_SECONDS": "Seconds of draining after which running tasks are ended by force; `None`: wait.",
    "PRELOAD": "Load Django and the processors once, before the workers are forked; `False`: in each worker.",
}

OBSERVABILITY: Final = {
    "METRICS_PORT": "Serve metrics on this port, or on one for each queue; 0: any free one; `None`: do not.",
    "METRICS_HOST": "Address to serve metrics on.",
    "METRICS_TOKEN_FILE": "File of the bearer token that `/metrics` demands; the probes stay open.",
    "METRICS_REQUIRED": "Refuse to start if metrics cannot be served; `False`: say so and run without.",
    "METRICS_MAX_SERIES": "So many label sets beside those that exist from the start; more become `_other`.",
    "METRICS_MAX_ERROR_TYPES": "So many error types for each processor; more become `_other`.",
    "DURATION_BUCKETS": "Bounds of `partisan_task_duration_seconds`.",
    "WAIT_BUCKETS": "Bounds of `partisan_task_queue_wait_seconds`.",
    "METRICS_DB_TIMEOUT": "Longest wait of a scrape for the figures from the database, in seconds.",
    "METRICS_DB_MIN_INTERVAL": "Ask the database at most this often, in seconds.",
    "METRICS_DB_MAX_AGE": "Serve older figures no longer when the database does not answer, in seconds.",
    "CLIENT_METRICS": "Count enqueues in the application too, in the client library's default registry.",
    "TRACE_PROPAGATION": "How a run's span relates to the enqueuer's; a processor may set its own.",
    "SPAN_NAMING": "Name spans by queue or by processor.",
    "TRACE_CLAIMS": "Make a span of each claim that found tasks.",
    "TRACE_SETTLES": "Make a span of each settle.",
    "CARRY_CONTEXT": "Context variables of structlog that travel with a task and are bound while it runs.",
    "TELEMETRY_SHUTDOWN_TIMEOUT": "Longest wait for a flush before a process ends, in seconds.",
    "LOG_TASK_ARGS": "Show tasks' arguments in logs and in the admin, redacted and cut to 1 KiB.",
    "REDACT_KEYS": "Parts of keys whose values are never shown.",
    "LOG_MAX_LINE_BYTES": "Longest line of our own log handler, in bytes.",
}
