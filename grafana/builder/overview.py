"""Overview: is work late, is it failing, is capacity gone, and why; read from the top left."""

from typing import Final

from grafana.builder import limits
from grafana.builder.dashboard import Dashboard, Row
from grafana.builder.links import to_traces_and_logs
from grafana.builder.panels import BLUE, GREEN, ORANGE, OUTCOMES, PURPLE, RED, Panel, figure, graph, heat
from grafana.builder.panels import limits as low_is_good
from grafana.builder.queries import Query, per_second, quantiles

FAILURE_RATIO: Final = """
sum(increase(partisan_tasks_failed_total{@queue}[15m]))
/ clamp_min(
  sum(increase(partisan_tasks_completed_total{@queue}[15m]))
  + sum(increase(partisan_tasks_failed_total{@queue}[15m])), 1e-9)
"""

BUSY_RATIO: Final = """
clamp_max(
  sum(rate(partisan_worker_busy_seconds_total{@queue}[$__rate_interval]))
  / sum(partisan_workers_configured{@queue}), 1)
"""


def _is_it_late() -> list[Panel]:
    return [
        figure(
            "Oldest due",
            "How long the longest waiting due task waits. Orange: PartisanQueueLatencyHigh fires, red:"
            " PartisanQueueLatencyCritical. See further right whether tasks fail or capacity is gone.",
            Query("max(partisan_queue_oldest_due_age_seconds{@queue})"),
            unit="s",
            steps=low_is_good(limits.OLDEST_DUE_HIGH, limits.OLDEST_DUE_CRITICAL),
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
            steps=low_is_good(limits.FAILURE_RATIO),
            decimals=1,
        ),
        figure(
            "Runs per second",
            "Runs that start, of all queues shown. Zero while tasks are due means that nothing works:"
            " see Live workers and Database.",
            Query("sum(rate(partisan_tasks_started_total{@queue}[$__rate_interval]))"),
            unit="short",
            steps=[(None, BLUE)],
        ),
    ]


def _is_capacity_gone() -> list[Panel]:
    return [
        figure(
            "Live workers",
            "Workers that are up, idle or busy. Red: none, and PartisanNoLiveWorkers fires. Fewer than"
            " configured for long: see Exits by reason on Workers.",
            Query('sum(partisan_workers{@queue,state=~"idle|busy"})'),
            unit="short",
            steps=[(None, RED), (1, GREEN)],
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


def _why() -> list[Panel]:
    return [
        figure(
            "Database",
            "Whether every manager shown could read its figures at the last scrape. Down:"
            " PartisanDatabaseUnreachable; figures of the database are then old or missing.",
            Query("min(partisan_db_up{@queue})"),
            unit="short",
            steps=[(None, RED), (1, GREEN)],
            words={"0": ("down", RED), "1": ("up", GREEN)},
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


def _queues() -> list[Panel]:
    return [
        graph(
            "Oldest due age",
            "How late each queue is. A line that climbs one second per second means that nothing is taken;"
            " a slower climb means too little capacity. The lines mark the alerts' limits.",
            Query("max by (queue) (partisan_queue_oldest_due_age_seconds{@queue})", "{{queue}}"),
            unit="s",
            width=6,
            steps=low_is_good(limits.OLDEST_DUE_HIGH, limits.OLDEST_DUE_CRITICAL),
            links=to_traces_and_logs("queue"),
        ),
        graph(
            "Tasks by state",
            "Rows that wait, lie ahead, run or failed for good, over the queues shown; above 100,000 an"
            " estimate. Due that grows: see Flow. Failed rows stay until somebody deletes or runs them"
            " again.",
            Query("sum by (state) (max by (job, queue, state) (partisan_queue_tasks{@queue}))", "{{state}}"),
            unit="short",
            width=6,
            colours={"due": BLUE, "scheduled": PURPLE, "in_process": GREEN, "error": RED},
        ),
        graph(
            "Wait until started",
            "From due to started, for the runs that started. High p50: too little capacity. High p99 alone:"
            " low priorities starve or long tasks hold workers. Dots are traces.",
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
            steps=low_is_good(limits.PAUSED),
        ),
    ]


def _flow() -> list[Panel]:
    return [
        graph(
            "In and out",
            "Inserts into the table (by everybody, all queues), runs started, tasks completed. Inserts above"
            " completed for long: the backlog grows. Started above completed: runs are repeated.",
            Query(
                "sum(max by (job) (rate(partisan_task_table_inserts_total{@instance}[$__rate_interval])))",
                "inserted",
            ),
            Query("sum(rate(partisan_tasks_started_total{@queue}[$__rate_interval]))", "started"),
            Query("sum(rate(partisan_tasks_completed_total{@queue}[$__rate_interval]))", "completed"),
            unit="suffix:/s",
            colours={"inserted": PURPLE, "started": BLUE, "completed": GREEN},
        ),
        graph(
            "Outcomes",
            "What came of the runs. Red is given up for good, orange will be tried again. Much blue: tasks"
            " wait for something else by postponing themselves.",
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
            "Exceptions that ended runs, by class. A new type since a deploy mark: roll back or fix that."
            " Several at once: look for a common cause. The very first error of a type makes no rate yet.",
            Query(per_second("partisan_task_errors_total", "error_type"), "{{error_type}}"),
            unit="suffix:/s",
            stacked=True,
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
            "How long a tick of each schedule has been due that is not enqueued; zero is good. The line is"
            " the limit of PartisanScheduleLate. partisan_schedules shows the error.",
            Query("max by (schedule) (partisan_schedule_lateness_seconds{@instance})", "{{schedule}}"),
            unit="s",
            width=6,
            steps=low_is_good(limits.TICK_LATENESS),
        ),
        graph(
            "Open ticks",
            "How old the oldest tick of each schedule is whose task has not ended. A climb beyond the"
            " interval between two ticks, and five minutes: PartisanScheduleNotCompleting fires.",
            Query("max by (schedule) (partisan_schedule_open_seconds{@instance})", "{{schedule}}"),
            unit="s",
            width=6,
        ),
        graph(
            "Since the last completed task",
            "How long ago a task of each schedule last completed, to a minute. A saw tooth as wide as the"
            " interval between two ticks is good; a straight climb means that its tasks fail or wait.",
            Query(
                "time() - max by (schedule) (partisan_schedule_last_completed_timestamp_seconds{@instance})",
                "{{schedule}}",
            ),
            unit="s",
            width=6,
        ),
    ]


DASHBOARD: Final = Dashboard(
    "partisan-overview",
    (
        Row(
            "Is work late, is it failing, is capacity gone, why",
            [*_is_it_late(), *_is_it_failing(), *_is_capacity_gone(), *_why()],
        ),
        Row("Queues", _queues()),
        Row("Flow", _flow()),
        Row("Duration", _duration()),
        Row("Schedules", _schedules()),
    ),
)
