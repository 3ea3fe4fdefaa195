"""The dashboard Overview: is work late or failing, is capacity exhausted, and why? Read from the top left."""

from typing import Final

from grafana.builder import limits, summary
from grafana.builder.colours import BLUE, BY_LAST_WORD, GREEN, ORANGE, OUTCOMES, PURPLE, RED, low_is_good
from grafana.builder.dashboard import Dashboard, Row
from grafana.builder.links import to_traces_and_logs
from grafana.builder.panels import Panel, graph, heat
from grafana.builder.queries import Query, highest, per_second, quantiles, top_ten


def _queues() -> list[Panel]:
    return [
        graph(
            "Oldest due age",
            "Age of the oldest due task of each queue. A climb of one second per second: no task is claimed."
            " A slower climb: too little capacity. The dashed lines are the limits for the default"
            " MAX_WAIT_SECONDS.",
            Query("max by (queue) (partisan_queue_oldest_due_age_seconds{@queue})", "{{queue}}"),
            unit="s",
            width=6,
            least=1,
            steps=low_is_good(limits.OLDEST_DUE_HIGH, limits.OLDEST_DUE_CRITICAL),
            links=to_traces_and_logs("queue"),
        ),
        graph(
            "Tasks by state",
            "Rows that are due, scheduled, claimed or failed in the queues shown; above 100,000 an estimate."
            " If due rows grow, see Flow. Failed rows (error) stay until they are requeued or deleted.",
            Query("sum by (state) (max by (job, queue, state) (partisan_queue_tasks{@queue}))", "{{state}}"),
            unit="short",
            width=6,
            colours={"due": BLUE, "scheduled": PURPLE, "in_process": GREEN, "error": RED},
        ),
        graph(
            "Wait until started",
            "Time from due to started, for runs that started. High p50: too little capacity. High p99 alone:"
            " tasks of low priority starve, or long tasks occupy the workers.",
            *quantiles("partisan_task_queue_wait_seconds"),
            unit="s",
            width=6,
            colours={"p50": GREEN, "p95": ORANGE, "p99": RED},
            links=to_traces_and_logs(""),
        ),
        graph(
            "Paused for",
            "How long each queue has been paused. Its tasks do not start until the queue is resumed or the"
            " pause ends, and alerts about late work do not fire. The dashed line is the limit of"
            " PartisanQueuePausedLong.",
            Query("max by (queue) (partisan_queue_paused_seconds{@queue})", "{{queue}}"),
            unit="s",
            width=6,
            least=1,
            steps=low_is_good(limits.PAUSED),
        ),
    ]


def _flow() -> list[Panel]:
    return [
        graph(
            "In and out",
            "Inserts into the table (from all sources, for all queues), started runs, completed tasks."
            " Inserts above completed for long: the backlog grows. Started above completed: runs are"
            " repeated.",
            Query(
                "sum(max by (job) (rate(partisan_task_table_inserts_total{@instance}[$__rate_interval])))",
                "inserted (all queues)",
            ),
            Query("sum(rate(partisan_tasks_started_total{@queue}[$__rate_interval]))", "started"),
            Query("sum(rate(partisan_tasks_completed_total{@queue}[$__rate_interval]))", "completed"),
            unit="suffix:/s",
            colours={"inserted (all queues)": PURPLE, "started": BLUE, "completed": GREEN},
        ),
        graph(
            "Outcomes",
            "Outcomes of runs. Red: the task failed and will not run again. Orange: it will be retried. Much"
            " blue: many tasks postpone themselves to wait for something else.",
            *(
                Query(f"sum(rate(partisan_tasks_{outcome}_total{{@queue}}[$__rate_interval]))", outcome)
                for outcome in OUTCOMES
            ),
            unit="suffix:/s",
            colours=OUTCOMES,
            stacked=True,
        ),
        graph(
            "Errors by type",
            "The ten most frequent exception classes that ended runs. A new class since a deploy mark: roll"
            " back or fix it. Several at once: look for a common cause. The very first error of a class is"
            " not shown: it has no rate yet.",
            Query(top_ten(per_second("partisan_task_errors_total", "error_type")), "{{error_type}}"),
            unit="suffix:/s",
            stacked=True,
            shades=RED,
            colours=BY_LAST_WORD,
            links=to_traces_and_logs(""),
        ),
    ]


def _duration() -> list[Panel]:
    return [
        heat(
            "How long runs take",
            "Runs by duration; a stronger color means more runs. A second band that appears after a deploy"
            " mark: a task has changed. Dots are traces: click one to see that run in detail.",
            Query(
                "sum by (le) (increase(partisan_task_duration_seconds_bucket{@queue}[$__rate_interval]))",
                "{{le}}",
                heatmap=True,
                exemplar=True,
            ),
            links=to_traces_and_logs(""),
        ),
        graph(
            "Duration of runs",
            "Duration of the runs of all processors shown. When it rises, throughput falls: find the slow"
            " processor on Processors.",
            *quantiles("partisan_task_duration_seconds"),
            unit="s",
            width=12,
            colours={"p50": GREEN, "p95": ORANGE, "p99": RED},
            links=to_traces_and_logs(""),
        ),
    ]


def _schedules() -> list[Panel]:
    return [
        graph(
            "Ticks",
            "Ticks of all schedules, by outcome. Overlap: the last task had not ended. Missed: the tick was"
            " too late to be enqueued; look for schedule.missed in the log.",
            Query(
                "sum by (outcome) (max by (job, schedule, outcome)"
                " (rate(partisan_schedule_ticks_total{@instance}[$__rate_interval])))",
                "{{outcome}}",
            ),
            unit="suffix:/s",
            width=6,
            colours={"enqueued": GREEN, "duplicate": BLUE, "overlap": ORANGE, "missed": RED},
            stacked=True,
        ),
        graph(
            "Late ticks",
            "How long a tick has been due without being enqueued, for the ten latest schedules; zero is"
            " good. The dashed line is the limit of PartisanScheduleLate. partisan_schedules shows the"
            " error.",
            Query(highest("partisan_schedule_lateness_seconds", "schedule", "@instance"), "{{schedule}}"),
            unit="s",
            width=6,
            least=1,
            steps=low_is_good(limits.TICK_LATENESS),
        ),
        graph(
            "Open ticks",
            "Age of the oldest tick whose task has not ended, for the ten schedules where it is oldest. If"
            " it exceeds the interval between ticks plus five minutes, PartisanScheduleNotCompleting fires.",
            Query(highest("partisan_schedule_open_seconds", "schedule", "@instance"), "{{schedule}}"),
            unit="s",
            width=6,
            least=1,
        ),
        graph(
            "Since the last completed task",
            "Time since a task last completed, to the minute, for the ten schedules where it is longest."
            " Normal: a saw tooth as wide as the interval between ticks. A steady climb: tasks fail or wait.",
            Query(_since_completed(), "{{schedule}}"),
            unit="s",
            width=6,
            least=1,
        ),
    ]


def _since_completed() -> str:
    completed = "partisan_schedule_last_completed_timestamp_seconds{@instance}"
    return top_ten(
        f"time() - max by (schedule) ({completed})",
        ranked_by=f"-max by (schedule) (max_over_time({completed}[$__range] @ end()))",
    )


DASHBOARD: Final = Dashboard(
    "partisan-overview",
    (
        Row("Is work late, is it failing, is capacity exhausted, why", summary.figures()),
        Row("Queues", _queues()),
        Row("Flow", _flow()),
        Row("Duration", _duration()),
        Row("Schedules", _schedules()),
    ),
)
