"""The first row of the overview: is work late, failing, or withheld, is capacity exhausted, and why?"""

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
            "How long the oldest due task has waited, and its processor. Orange from five minutes, red from"
            " 30: the limits for the default MAX_WAIT_SECONDS. The panels further right show failures and"
            " capacity.",
            Query(OLDEST_DUE, "{{task}}"),
            unit="s",
            steps=low_is_good(limits.OLDEST_DUE_HIGH, limits.OLDEST_DUE_CRITICAL),
            text=BigValueTextMode.VALUE_AND_NAME,
        ),
        figure(
            "Due now",
            "Tasks that are due and not yet claimed. A high number alone is no problem: look at Oldest due."
            " If it only grows, add workers or find out what became slow.",
            Query('sum(max by (job, queue) (partisan_queue_tasks{@queue,state="due"}))'),
            unit="short",
            steps=[(None, BLUE)],
        ),
    ]


def _is_it_failing() -> list[Panel]:
    return [
        figure(
            "Failure ratio",
            "Share of failed tasks among those that ended in the last 15 minutes; retries do not count. Red:"
            " PartisanTaskFailureRatioHigh. See Errors by type below, then Processors.",
            Query(FAILURE_RATIO),
            unit="percentunit",
            steps=errors(limits.FAILURE_RATIO),
            decimals=1,
        ),
        figure(
            "Retry ratio",
            "Share of runs that ended with an error and will be repeated, among those that ended in the last"
            " 15 minutes and were not postponed. A retried task counts as failed only after its last retry.",
            Query(RETRY_RATIO),
            unit="percentunit",
            steps=errors(limits.RETRY_RATIO, ORANGE),
            decimals=1,
        ),
        figure(
            "Failed tasks",
            "Failed rows that wait for a decision: find the cause, then requeue them with partisan_requeue,"
            " or delete them. They are kept unless KEEP_FAILED_SECONDS is set.",
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
            "Runs that start per second, in all queues shown. Zero while tasks are due means that nothing is"
            " processed: see Live workers and Database.",
            Query("sum(rate(partisan_tasks_started_total{@queue}[$__rate_interval]))"),
            unit="short",
            steps=[(None, BLUE)],
        ),
        figure(
            "Live workers",
            "Workers that are up (idle or busy) of those configured, for the queue that lacks the largest"
            " share. Red: none is up; see Alerts firing. Orange for long: see Exits by reason on Workers.",
            Query(LIVE_WORKERS, "{{live}} of {{configured}} ({{queue}})"),
            unit="percentunit",
            steps=[(None, RED), (1e-9, ORANGE), (1, GREEN)],
            text=BigValueTextMode.NAME,
        ),
        figure(
            "Workers busy",
            "Share of the workers' time spent in runs, from busy seconds, so short tasks count too. Red"
            " while tasks wait: PartisanWorkersSaturated. Add workers or hosts, or make tasks cheaper.",
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
            "Queues whose tasks do not start until the queue is resumed or the pause ends. Until then,"
            " alerts about late work do not fire. partisan_status shows who paused them and why.",
            Query("sum(max by (job, queue) (partisan_queue_paused{@queue}))"),
            unit="short",
            steps=errors(1, ORANGE),
        ),
        figure(
            "Tasks held",
            "Tasks that cannot run because no manager has registered their processor, or for another reason:"
            " see Held tasks on Processors. They run as soon as they can, or fail after a day by default.",
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
            "Whether PostgreSQL answered every manager shown at the last scrape and accepts writes and"
            " queries. Red: PartisanDatabaseUnreachable, PartisanDatabaseReadOnly or PartisanFiguresMissing.",
            Query(DATABASE_STATE),
            unit="short",
            words=DATABASE_WORDS,
        ),
    ]
