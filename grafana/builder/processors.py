"""The dashboard Processors: which kind of task is failing, waiting or taking a long time?"""

from itertools import pairwise
from typing import Final

from django_partisan import outcomes
from grafana.builder import limits
from grafana.builder.colours import BY_LAST_WORD, GREY, ORANGE, OUTCOMES, RED, low_is_good, warm
from grafana.builder.dashboard import Dashboard, Row
from grafana.builder.links import to_processor, to_traces_and_logs
from grafana.builder.panels import Panel, bars, cell, graph, grid
from grafana.builder.queries import Query, highest, per_second, quantile, top_ten

LONG_RUN: Final = 30
"""The least age of a run on the panel of long runs, in seconds. Most shorter runs fit between two scrapes."""


def _grown(counter: str, condition: str = "") -> Query:
    return Query(
        f"sum by (queue, processor) (increase({counter}{{@processor{condition}}}[$__range]))", table=True
    )


def _p95(histogram: str) -> Query:
    return Query(
        "histogram_quantile(0.95, sum by (le, queue, processor)"
        f" (increase({histogram}_bucket{{@processor}}[$__range]))) >= 0",
        table=True,
    )


def _table() -> list[Panel]:
    runs = _grown("partisan_tasks_started_total")
    failed = _grown("partisan_tasks_failed_total")
    completed = _grown("partisan_tasks_completed_total")
    ratio = Query(f"{failed.expr} / ({completed.expr} + {failed.expr} > 0)", table=True)
    mean = Query(
        f"{_grown('partisan_task_duration_seconds_sum').expr} /"
        f" ({_grown('partisan_task_duration_seconds_count').expr} > 0)",
        table=True,
    )
    return [
        grid(
            "Processors in this time range",
            "One row per processor, the busiest first. The failure ratio is red from the alert's limit on:"
            " click the name to see that processor alone. A long p95 wait with a short p95 duration: its"
            " tasks wait behind others.",
            runs,
            Query(f"{failed.expr} > 0 or 0 * {runs.expr}", table=True),  # no _other without failures
            ratio,
            _grown("partisan_tasks_retried_total"),
            _grown("partisan_tasks_postponed_total"),
            mean,
            _p95("partisan_task_duration_seconds"),
            _p95("partisan_task_queue_wait_seconds"),
            unit="short",
            columns={
                "processor": "Processor",
                "Value #C": "Failure ratio",  # a phone shows the first three columns
                "Value #A": "Runs",
                "Value #B": "Failed",
                "Value #D": "Retried",
                "Value #E": "Postponed",
                "Value #F": "Mean",
                "Value #G": "p95",
                "Value #H": "p95 wait",
                "queue": "Queue",
            },
            sort_by="Runs",
            cells={
                "Processor": cell(links=[to_processor("__value.text")]),
                "Queue": cell(width=140),
                "Runs": cell(unit="locale", decimals=0, width=95),
                "Failed": cell(unit="locale", decimals=0, width=95),
                "Failure ratio": cell(
                    unit="percentunit",
                    decimals=1,
                    width=95,
                    steps=[(None, "transparent"), (limits.FAILURE_RATIO, "red")],
                ),
                "Retried": cell(unit="locale", decimals=0, width=95),
                "Postponed": cell(unit="locale", decimals=0, width=95),
                **dict.fromkeys(("Mean", "p95", "p95 wait"), cell(unit="s", width=95)),
            },
        )
    ]


def _outcomes() -> list[Panel]:
    return [
        graph(
            "Runs by processor",
            "Runs that start, for the ten busiest processors. A line drops to zero while others continue:"
            " nothing enqueues its tasks, or they all wait behind tasks with a lower priority number.",
            Query(_top_ten_per_second("partisan_tasks_started_total"), "{{processor}}"),
            unit="suffix:/s",
            links=[to_processor("__field.labels.processor"), *to_traces_and_logs("processor")],
        ),
        graph(
            "Outcomes",
            "Outcomes of the runs of the processors shown. To see one processor alone, select it above.",
            Query(per_second("partisan_task_duration_seconds_count", "outcome", "@processor"), "{{outcome}}"),
            unit="suffix:/s",
            colours={**OUTCOMES, outcomes.CANCELLED: GREY},
            stacked=True,
        ),
        graph(
            "Failed, by reason",
            "Tasks that failed and will not run again. retries_exhausted: the cause lasted longer than all"
            " retries. worker_lost: the task kills its worker (memory?). unregistered: a deploy removed the"
            " processor.",
            Query(per_second("partisan_tasks_failed_total", "reason", "@processor"), "{{reason}}"),
            unit="suffix:/s",
            stacked=True,
            shades=RED,
            colours=warm(outcomes.FAILURE_REASONS),
        ),
        graph(
            "Errors by processor and type",
            "The ten most frequent exceptions that ended runs, retried or failed. The same type in many"
            " processors points at something they share; a log search for the type shows the traceback.",
            Query(
                top_ten(per_second("partisan_task_errors_total", "processor, error_type", "@processor")),
                "{{processor}}: {{error_type}}",
            ),
            unit="suffix:/s",
            stacked=True,
            shades=RED,
            colours=BY_LAST_WORD,
            links=to_traces_and_logs("processor"),
        ),
        graph(
            "Enqueued by tasks",
            "Tasks that workers (and, with CLIENT_METRICS, the application) enqueued. Duplicates: the same"
            " task was already waiting. Refused: the insert failed; see the log event task.enqueue_failed.",
            Query(
                per_second("partisan_tasks_enqueued_total", "scheduled", "@processor"),
                "scheduled: {{scheduled}}",
            ),
            Query("sum(rate(partisan_tasks_deduplicated_total{@processor}[$__rate_interval]))", "duplicates"),
            Query("sum(rate(partisan_tasks_enqueue_failed_total{@processor}[$__rate_interval]))", "refused"),
            unit="suffix:/s",
            colours={"refused": RED},
        ),
        graph(
            "Held tasks",
            "Tasks that no manager can run yet, for the ten processors with the most of them. unregistered:"
            " no manager of the queue has registered the processor; deploy it, or cancel the tasks.",
            Query(
                highest("partisan_queue_held_tasks", "processor, reason", "@processor"),
                "{{reason}}: {{processor}}",
            ),
            unit="short",
            shades=ORANGE,
            colours=BY_LAST_WORD,
        ),
    ]


def _time() -> list[Panel]:
    return [
        graph(
            "Duration, p95",
            "Duration that 95% of runs do not exceed, for the ten slowest processors. A step at a deploy"
            " mark: a task has changed.",
            Query(_top_ten_p95("partisan_task_duration_seconds"), "{{processor}}"),
            unit="s",
            links=[to_processor("__field.labels.processor"), *to_traces_and_logs("processor")],
        ),
        graph(
            "Wait, p95",
            "Time from due to started, for the ten processors that wait longest. All of them: too little"
            " capacity. Only one: it has a high priority number, so others go first.",
            Query(_top_ten_p95("partisan_task_queue_wait_seconds"), "{{processor}}"),
            unit="s",
            links=[to_processor("__field.labels.processor"), *to_traces_and_logs("processor")],
        ),
        graph(
            "Workers kept busy",
            "Average number of workers that each of the top ten processors keeps busy, from the durations of"
            " ended runs; tasks faster than a scrape count fully. Optimize the widest band first.",
            Query(_top_ten_per_second("partisan_task_duration_seconds_sum"), "{{processor}}"),
            unit="short",
            least=0.01,
            stacked=True,
        ),
        graph(
            "Longest running now",
            "Age of the oldest current run, for the ten processors with the oldest. The dashed line is an"
            " hour: the limit for processors without a time limit and without completed runs in seven days.",
            Query(highest("partisan_oldest_run_age_seconds", "processor", "@processor"), "{{processor}}"),
            unit="s",
            least=1,
            steps=low_is_good(limits.RUN_AGE),
        ),
        graph(
            f"Long runs under way ({LONG_RUN} s and more)",
            f"Current runs of processors whose oldest run is at least {LONG_RUN} s old, for the ten with the"
            " oldest. Shorter runs are left out: scrapes miss most of them. As many as workers: nothing else"
            " runs.",
            Query(_long_runs(), "{{processor}}"),
            unit="short",
            stacked=True,
        ),
        bars(
            "Attempts to the end",
            "How many runs tasks needed until they completed or failed, in this time range, for the queues"
            " shown. A long tail: tasks wait by retrying or postponing, where a schedule would be better.",
            *_attempts(),
            unit="locale",
        ),
    ]


def _top_ten_per_second(counter: str) -> str:
    return top_ten(per_second(counter, "processor", "@processor"))


def _top_ten_p95(histogram: str) -> str:
    return top_ten(quantile(0.95, histogram, "processor", "@processor"))


def _long_runs() -> str:
    age = "partisan_oldest_run_age_seconds{@processor}"
    return top_ten(
        f"sum by (processor) (partisan_tasks_in_progress{{@processor}} * ({age} >= bool {LONG_RUN}))",
        ranked_by=f"max by (processor) (max_over_time({age}[$__range] @ end()))",
    )


def _attempts() -> list[Query]:
    """Return a query per bucket of attempts, less the smaller buckets, which Prometheus includes in each."""

    def up_to(limit: str) -> str:
        le = f'le=~"{limit}|{limit}.0"' if limit != "+Inf" else 'le="+Inf"'
        return f"sum(increase(partisan_task_attempts_bucket{{@queue,{le}}}[$__range]))"

    names = {"1": "1", "2": "2", "3": "3", "5": "4 to 5", "10": "6 to 10", "20": "11 to 20", "+Inf": "more"}
    ends = list(names)
    first = [Query(up_to(ends[0]), names[ends[0]])]
    return first + [Query(f"{up_to(end)} - {up_to(before)}", names[end]) for before, end in pairwise(ends)]


DASHBOARD: Final = Dashboard(
    "partisan-processors",
    (Row("All processors", _table()), Row("What comes of the runs", _outcomes()), Row("Time", _time())),
    by_processor=True,
)
