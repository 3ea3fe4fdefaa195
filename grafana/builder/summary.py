"""The first row of the overview: is work late, failing, or withheld, is capacity gone, and why?"""

from typing import Final

from grafana_foundation_sdk.models.common import BigValueTextMode

from grafana.builder import limits
from grafana.builder.colours import BLUE, GREEN, ORANGE, RED, errors, low_is_good
from grafana.builder.panels import Panel, figure
from grafana.builder.queries import Query

# If nothing is due, there is no processor, and the age is 0. If the figures are missing, nothing is shown.
OLDEST_DUE: Final = """
topk(1,
  label_join(
    max by (queue, processor) (partisan_oldest_due_task_age_seconds{@queue}),
    "task", ", ", "processor", "queue")
  or label_replace(
    0 * max(partisan_queue_oldest_due_age_seconds{@queue}), "task", "nothing is due", "", ""))
"""

FAILURE_RATIO: Final = """
sum(increase(partisan_tasks_failed_total{@queue}[15m]))
/ clamp_min(
  sum(increase(partisan_tasks_completed_total{@queue}[15m]))
  + sum(increase(partisan_tasks_failed_total{@queue}[15m])), 1e-9)
"""

RETRY_RATIO: Final = """
sum(increase(partisan_tasks_retried_total{@queue}[15m]))
/ clamp_min(
  sum(increase(partisan_tasks_retried_total{@queue}[15m]))
  + sum(increase(partisan_tasks_completed_total{@queue}[15m]))
  + sum(increase(partisan_tasks_failed_total{@queue}[15m])), 1e-9)
"""

BUSY_RATIO: Final = """
clamp_max(
  sum(rate(partisan_worker_busy_seconds_total{@queue}[$__rate_interval]))
  / sum(partisan_workers_configured{@queue}), 1)
"""

# A manager that does not answer scrapes counts with its maximum of the last six hours. A queue without
# managers counts with its highest sum at any one time, so that replaced managers are not counted twice.
_CONFIGURED: Final = """(
  sum by (job, queue) (
    partisan_workers_configured{@queue}
    or max_over_time(partisan_workers_configured{@queue}[6h]) and on (job, instance) up{@instance} == 0
  ) or max_over_time(sum by (job, queue) (partisan_workers_configured{@queue})[6h:1m])
)"""
_LIVE: Final = f"""(
  sum by (job, queue) (partisan_workers{{@queue,state=~"idle|busy"}}) or 0 * {_CONFIGURED}
)"""
# The share of the worst queue. Both numbers become labels, because the panel shows them as text.
LIVE_WORKERS: Final = f"""
bottomk(1, {_LIVE} / on (job, queue) {_CONFIGURED})
* on (job, queue) group_left (live) count_values by (job, queue) ("live", {_LIVE})
* on (job, queue) group_left (configured) count_values by (job, queue) ("configured", {_CONFIGURED})
"""

# The worst state of any manager.
DATABASE_STATE: Final = (
    "min(partisan_db_up{@queue} * (1 + (partisan_db_writable{@queue} or 0 * partisan_db_up{@queue})))"
)
DATABASE_WORDS: Final = {"0": ("down", RED), "1": ("read-only or no figures", RED), "2": ("up", GREEN)}


def figures() -> list[Panel]:
    """Return the figures in reading order."""
    return [*_is_it_late(), *_is_it_failing(), *_is_capacity_gone(), *_is_it_withheld(), *_why()]


def _is_it_late() -> list[Panel]:
    return [
        figure(
            "Oldest due",
            "How long the longest waiting due task waits, and its kind. Orange from five minutes, red from"
            " 30: the limits with the default MAX_WAIT_SECONDS. See further right whether tasks fail or"
            " capacity is gone.",
            Query(OLDEST_DUE, "{{task}}"),
            unit="s",
            steps=low_is_good(limits.OLDEST_DUE_HIGH, limits.OLDEST_DUE_CRITICAL),
            text=BigValueTextMode.VALUE_AND_NAME,
        ),
        figure(
            "Due now",
            "Tasks whose time has come and which nobody has claimed. A number is no problem by itself:"
            " look at Oldest due. If it only grows, add workers or find what became slow.",
            Query('sum(max by (job, queue) (partisan_queue_tasks{@queue,state="due"}))'),
            unit="short",
            steps=[(None, BLUE)],
        ),
    ]


def _is_it_failing() -> list[Panel]:
    return [
        figure(
            "Failure ratio",
            "Failed of all tasks that ended in 15 minutes; retries do not count. Red:"
            " PartisanTaskFailureRatioHigh. Open Errors by type below, then Processors.",
            Query(FAILURE_RATIO),
            unit="percentunit",
            steps=errors(limits.FAILURE_RATIO),
            decimals=1,
        ),
        figure(
            "Retry ratio",
            "Runs of the last 15 minutes that ended with an error and will be repeated, of all that ended"
            " but were not postponed. Tasks that are retried do not count as failed until the last retry.",
            Query(RETRY_RATIO),
            unit="percentunit",
            steps=errors(limits.RETRY_RATIO, ORANGE),
            decimals=1,
        ),
        figure(
            "Failed tasks",
            "Rows that failed and wait for somebody's decision: find the cause, then requeue them with"
            " partisan_requeue, or delete them. They stay unless KEEP_FAILED_SECONDS says otherwise.",
            Query('sum(max by (job, queue) (partisan_queue_tasks{@queue,state="error"}))'),
            unit="short",
            steps=errors(1, ORANGE),
        ),
        figure(
            "Alerts firing",
            'Alerts of these rules that fire now; each has a section in docs/runbooks.md. "No rules" means'
            " that Prometheus has not loaded grafana/alerts.",
            Query(
                'count(ALERTS{alertname=~"Partisan.+",alertstate="firing",job=~"$job"})'
                " or 0 * group(job_queue:partisan_workers_configured:sum)"
            ),
            unit="short",
            steps=low_is_good(1),
            none="no rules",
        ),
    ]


def _is_capacity_gone() -> list[Panel]:
    return [
        figure(
            "Runs per second",
            "Runs that start, of all queues shown. Zero while tasks are due means that nothing works:"
            " see Live workers and Database.",
            Query("sum(rate(partisan_tasks_started_total{@queue}[$__rate_interval]))"),
            unit="short",
            steps=[(None, BLUE)],
        ),
        figure(
            "Live workers",
            "Workers that are up, idle or busy, of those configured, in the queue that lacks the largest"
            " share. Red: it has none; see Alerts firing. Orange for long: see Exits by reason on Workers.",
            Query(LIVE_WORKERS, "{{live}} of {{configured}} ({{queue}})"),
            unit="percentunit",
            steps=[(None, RED), (1e-9, ORANGE), (1, GREEN)],
            text=BigValueTextMode.NAME,
        ),
        figure(
            "Workers busy",
            "Share of the workers' time spent in runs, from busy seconds, so short tasks count too. Red while"
            " work waits: PartisanWorkersSaturated. Add workers or hosts, or make tasks cheaper.",
            Query(BUSY_RATIO),
            unit="percentunit",
            steps=low_is_good(limits.BUSY_RATIO),
            decimals=0,
        ),
    ]


def _is_it_withheld() -> list[Panel]:
    return [
        figure(
            "Queues paused",
            "Queues of which nothing starts until somebody resumes them, or the pause ends. No alert says"
            " meanwhile that their work is late. partisan_status shows who paused them, and why.",
            Query("sum(max by (job, queue) (partisan_queue_paused{@queue}))"),
            unit="short",
            steps=errors(1, ORANGE),
        ),
        figure(
            "Tasks held",
            "Tasks that cannot run because no manager has registered their processor, or for another reason:"
            " see Held tasks on Processors. They run when they can, or fail after a day by default.",
            Query(
                "sum(max by (job, queue, processor, reason) (partisan_queue_held_tasks{@queue}))"
                " or 0 * max(partisan_db_data_age_seconds{@queue})"
            ),
            unit="short",
            steps=errors(1, ORANGE),
        ),
    ]


def _why() -> list[Panel]:
    return [
        figure(
            "Database",
            "Whether PostgreSQL answered every manager shown at the last scrape, and takes writes and"
            " queries. Red: PartisanDatabaseUnreachable, PartisanDatabaseReadOnly or PartisanFiguresMissing.",
            Query(DATABASE_STATE),
            unit="short",
            words=DATABASE_WORDS,
        ),
    ]
