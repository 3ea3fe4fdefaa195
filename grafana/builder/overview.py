"""The dashboard Overview: is work late, is it failing, is capacity gone, and why? Read from the top left."""

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
            "How late each queue is. A line that climbs one second per second means that nothing is taken;"
            " a slower climb means too little capacity. The lines: the limits with the default"
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
            "Rows that are due, scheduled, claimed or failed, of the queues shown; above 100,000 an estimate."
            " Due that grows: see Flow. Failed rows (error) stay until somebody requeues or deletes them.",
            Query("sum by (state) (max by (job, queue, state) (partisan_queue_tasks{@queue}))", "{{state}}"),
            unit="short",
            width=6,
            colours={"due": BLUE, "scheduled": PURPLE, "in_process": GREEN, "error": RED},
        ),
        graph(
            "Wait until started",
            "From due to started, for the runs that started. High p50: too little capacity. High p99 alone:"
            " low priorities starve or long tasks hold workers.",
            *quantiles("partisan_task_queue_wait_seconds"),
            unit="s",
            width=6,
            colours={"p50": GREEN, "p95": ORANGE, "p99": RED},
            links=to_traces_and_logs(""),
        ),
        graph(
            "Paused for",
            "How long each queue has been paused; nothing of it starts until somebody resumes it, or the"
            " pause ends. Meanwhile no alert says that its work is late. The line: PartisanQueuePausedLong.",
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
            "Inserts into the table (by everybody, of all queues), runs started, tasks completed. Inserts"
            " above completed for long: the backlog grows. Started above completed: runs are repeated.",
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
            "What came of the runs. Red: the task failed and will not run again. Orange: it will be retried."
            " Much blue: tasks wait for something else by postponing themselves.",
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
            "Exceptions that ended runs, the ten most frequent classes. A new one since a deploy mark: roll"
            " back or fix that. Several at once: look for a common cause. The very first of a type makes no"
            " rate yet.",
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
            "Runs by duration; the stronger the colour, the more. A second band that appears after a deploy"
            " mark is a changed task. Dots are traces: click one to see a run from inside.",
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
            "Over all processors shown. When it rises, throughput falls: find the processor on Processors.",
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
            "What became of the ticks of all schedules. Overlap: the last task had not ended. Missed: they"
            " were too late to be enqueued; look for schedule.missed in the log.",
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
            "How long a tick has been due that is not enqueued, of the ten latest schedules; zero is good."
            " The line is the limit of PartisanScheduleLate. partisan_schedules shows the error.",
            Query(highest("partisan_schedule_lateness_seconds", "schedule", "@instance"), "{{schedule}}"),
            unit="s",
            width=6,
            least=1,
            steps=low_is_good(limits.TICK_LATENESS),
        ),
        graph(
            "Open ticks",
            "How old the oldest tick is whose task has not ended, of the ten schedules with the oldest. A"
            " climb beyond the interval of the ticks and five minutes: PartisanScheduleNotCompleting fires.",
            Query(highest("partisan_schedule_open_seconds", "schedule", "@instance"), "{{schedule}}"),
            unit="s",
            width=6,
            least=1,
        ),
        graph(
            "Since the last completed task",
            "How long ago a task last completed, to a minute, of the ten schedules where it is longest. A saw"
            " tooth as wide as the interval between two ticks is good; a straight climb: tasks fail or wait.",
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
        Row("Is work late, is it failing, is capacity gone, why", summary.figures()),
        Row("Queues", _queues()),
        Row("Flow", _flow()),
        Row("Duration", _duration()),
        Row("Schedules", _schedules()),
    ),
)
