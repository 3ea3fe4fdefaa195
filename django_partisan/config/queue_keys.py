"""The settings of a queue: their names, defaults, accepted values and meanings."""

import os
from collections.abc import Mapping
from typing import Final

from django_partisan.config.processor_configs import ErrorsHandleConfig
from django_partisan.config.validation import (
    BOOLEAN,
    Setting,
    instance_of,
    integer,
    or_none,
    seconds,
)

KEPT: Final = or_none(seconds(0), " to keep rows forever")
"""The rule for how long a row is kept, in seconds."""
TIME_LIMIT: Final = seconds(0.001)
"""The rule for the time limit of a run, in seconds."""
LEAST_GRACE_SECONDS: Final = 0.1
"""The shortest grace period.

Workers rely on it: the manager kills a worker only for a run that has lasted longer than this.
"""


def usable_cores() -> int:
    """Return the number of cores this process may use; CPU affinity or a container can limit it."""
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1  # pragma: no cover: macOS has no affinity


KEYS: Final[Mapping[str, Setting]] = {
    "MIN_QUEUE_SIZE": Setting(
        2,
        integer(0),
        "Refill the buffer of claimed tasks when it holds this many tasks or fewer. "
        "Raise it if workers wait between claims.",
        int,
        flat=True,
    ),
    "MAX_QUEUE_SIZE": Setting(
        10,
        integer(1),
        "Maximum number of claimed tasks that no worker has started yet. "
        "Raise it if tasks take only milliseconds.",
        int,
        flat=True,
    ),
    "CHECKS_BEFORE_CLEANUP": Setting(
        50,
        integer(1),
        "After this many claims, check the connection used for claiming, and close it if it is broken or too "
        "old. Lower it if that connection must not become much older than `CONN_MAX_AGE`.",
        int,
        flat=True,
    ),
    "WORKERS_COUNT": Setting(
        usable_cores,
        integer(1),
        "Number of worker processes. Raise it if tasks mostly wait for other systems.",
        int,
        flat=True,
    ),
    "SLEEP_DELAY_SECONDS": Setting(
        2,
        seconds(0.01),
        "Look for due tasks after this many seconds without a notification. Lower it if `LISTEN` is `False`.",
        float,
        flat=True,
    ),
    "TASKS_PER_WORKER_INSTANCE": Setting(
        None,
        or_none(integer(1)),
        "Replace a worker process after this many tasks; `None` means never. Set it if tasks leak memory.",
        flat=True,
    ),
    "DELETE_TASKS_ON_COMPLETE": Setting(
        False,
        BOOLEAN,
        "Delete the row of a completed task instead of keeping it as `finished`. "
        "Set it to `True` if nobody looks at completed tasks.",
        flat=True,
    ),
    "KEEP_FINISHED_SECONDS": Setting(
        14 * 86_400,
        KEPT,
        "Managers delete the row of a completed task this many seconds after the task ended; `None` means "
        "never. A processor's attribute of the same name takes precedence. "
        "Lower it if the table grows too large.",
    ),
    "KEEP_FAILED_SECONDS": Setting(
        None,
        KEPT,
        "Managers delete the row of a failed task this many seconds after the task ended; `None` means "
        "never. A processor's attribute of the same name takes precedence. "
        "Set it if nobody looks at old failures.",
    ),
    "DEFAULT_POSTPONE_DELAY_SECONDS": Setting(
        5,
        seconds(0),
        "How many seconds a task is postponed if its `PostponeTask()` specifies no delay. "
        "Raise it if tasks usually have to wait longer.",
        flat=True,
    ),
    "DEFAULT_POSTPONES_COUNT": Setting(
        15,
        or_none(integer(0)),
        "How many times a task may be postponed before it fails; `None` means no limit. "
        "Raise it if tasks fail before the condition that they wait for is met.",
        flat=True,
    ),
    "DEFAULT_RETRY": Setting(
        None,
        or_none(instance_of(ErrorsHandleConfig)),
        "The errors that lead to a retry, for processors that do not set `RETRY_ON_ERROR_CONFIG`; `None` "
        "means that no error leads to a retry. "
        "Set it if most tasks of the queue depend on a service that may fail.",
    ),
    "LEASE_SECONDS": Setting(
        30,
        seconds(3),
        "A manager is considered dead after this many seconds without a heartbeat. "
        "Heartbeats are sent at intervals of one third of this time. Raise it if hosts are often suspended "
        "or overloaded; lower it if the tasks of a lost host must run again sooner.",
    ),
    "MAX_WAIT_SECONDS": Setting(
        1_800,
        or_none(seconds(1)),
        "How many seconds a due task may wait. An alert warns when the oldest due task has waited for a "
        "sixth of this time, and becomes critical when that task has waited for longer than this time; "
        "`None` turns the alert off. The value does not change how tasks run. "
        "Lower it if users wait for the tasks.",
    ),
    "MAX_CRASHES": Setting(
        3,
        integer(1),
        "How many times a task is run again after the death of its worker. When this number is exceeded, the "
        "task fails. Raise it if workers are often killed for reasons unrelated to their tasks.",
    ),
    "UNREGISTERED_GRACE_SECONDS": Setting(
        86_400,
        seconds(0),
        "How many seconds a task is held while no manager of its queue has registered its processor. After "
        "this time, the task fails. "
        "Raise it if managers may be deployed more than a day after the code that enqueues the tasks.",
    ),
    "DEFAULT_TIMEOUT_SECONDS": Setting(
        None,
        or_none(TIME_LIMIT),
        "Interrupt a run that lasts longer than this many seconds, if its processor has no "
        "`TIMEOUT_SECONDS`; `None` means no limit. "
        "Set it if a run could hang, for example in a network call without a timeout.",
    ),
    "INTERRUPT_GRACE_SECONDS": Setting(
        10,
        seconds(LEAST_GRACE_SECONDS),
        "How many seconds a run may take to end after it was interrupted because it exceeded its time limit "
        "or because its task was cancelled. After this time, the worker is killed. "
        "Raise it if tasks need longer to clean up.",
    ),
    "LISTEN": Setting(
        True,
        BOOLEAN,
        "Wake the manager with `LISTEN`/`NOTIFY`. Set it to `False` behind a pooler in transaction mode; the "
        "manager then looks for tasks only at intervals of `SLEEP_DELAY_SECONDS`.",
    ),
    "STOP_TIMEOUT_SECONDS": Setting(
        None,
        or_none(seconds(0)),
        "End running tasks by force after this many seconds of draining; `None` means to wait until they "
        "finish. Set it to a few seconds less than the grace period of your supervisor if the supervisor "
        "kills managers that are slow to stop.",
        float,
    ),
    "PRELOAD": Setting(
        True,
        BOOLEAN,
        "Load Django and the processors once, before workers are forked. "
        "Set it to `False` if your code must be loaded in each worker.",
    ),
    "RESET_SESSION": Setting(
        False,
        BOOLEAN,
        "Run `DISCARD ALL` on the PostgreSQL connections of a task when its run ends. "
        "Set it to `True` if tasks leave changed parameters (`SET`), advisory locks or temporary tables in "
        "the session.",
    ),
}
