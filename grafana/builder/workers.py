"""The dashboard Workers: are the worker and manager processes healthy, and is the machine?"""

from typing import Final

from grafana.builder import limits
from grafana.builder.colours import BLUE, EXITS, GREEN, GREY, INTERRUPTIONS, ORANGE, PURPLE, RED, low_is_good
from grafana.builder.dashboard import Dashboard, Row
from grafana.builder.panels import Panel, graph
from grafana.builder.queries import Query, highest, in_interval, per_second, quantile, top_ten

OURS: Final = "and on (job, instance) partisan_build_info{@instance}"
"""Restricts metrics that every target exports to targets that are managers."""


def _pool() -> list[Panel]:
    return [
        graph(
            "Workers by state",
            "Live (idle or busy at the scrape), starting and configured workers. Live below configured for"
            " long: workers die or cannot start; see Exits by reason. The next panel shows how busy they"
            " are.",
            Query('sum(partisan_workers{@queue,state=~"idle|busy"})', "live"),
            Query('sum(partisan_workers{@queue,state="starting"})', "starting"),
            Query("sum(partisan_workers_configured{@queue})", "configured"),
            unit="short",
            colours={"live": GREEN, "starting": ORANGE, "configured": GREY},
        ),
        graph(
            "Workers busy",
            "Share of the workers' time spent in runs, from busy seconds, so tasks of milliseconds count"
            " too. Above the dashed line while tasks wait: PartisanWorkersSaturated; add workers or hosts.",
            Query(
                "clamp_max(sum by (queue)"
                " (rate(partisan_worker_busy_seconds_total{@queue}[$__rate_interval])) / sum by (queue)"
                " (partisan_workers_configured{@queue}), 1)",
                "{{queue}}",
            ),
            unit="percentunit",
            top=1,
            steps=low_is_good(limits.BUSY_RATIO),
        ),
        graph(
            "Exits by reason",
            "recycled and stopped are intended. error or signal: a worker died; if workers keep dying,"
            " PartisanWorkersCrashLooping fires. The log event worker.exited names the task, the signal and"
            " the memory.",
            Query(in_interval("partisan_worker_exits_total", "reason"), "{{reason}}"),
            unit="short",
            shades=RED,
            colours=EXITS,
            stacked=True,
            bars=True,
        ),
        graph(
            "Tasks rescued, released, lost",
            "Rescued: the manager or worker that held the tasks died; they run again. Released: tasks that"
            " had not started (stop, pause, sharing). Claim lost: an outcome came too late and was not"
            " written.",
            Query(in_interval("partisan_tasks_rescued_total", "reason"), "rescued ({{reason}})"),
            Query(in_interval("partisan_tasks_released_total", "reason"), "released ({{reason}})"),
            Query("sum(increase(partisan_tasks_claim_lost_total{@queue}[$__rate_interval]))", "claim lost"),
            unit="short",
            shades=RED,
            colours=INTERRUPTIONS,
            stacked=True,
            bars=True,
        ),
        graph(
            "Managers",
            "Managers with a lease in the database, on all hosts, and managers that Prometheus scraped. More"
            " leases than scraped: a manager has no scrape target. Draining: managers that finish their runs"
            " and stop.",
            Query("sum(max by (job, queue) (partisan_managers_alive{@queue}))", "with a lease"),
            Query("count(partisan_workers_configured{@queue})", "scraped"),
            Query("sum(partisan_manager_draining{@queue})", "draining"),
            unit="short",
            colours={"with a lease": GREEN, "scraped": BLUE, "draining": ORANGE},
        ),
        graph(
            "Time since the last run ended",
            "It grows while a queue has nothing to do, or while all workers are in long runs. If tasks are"
            " due and workers are idle, PartisanQueueNotDraining fires.",
            Query(
                "time() - max by (queue) (partisan_last_task_finished_timestamp_seconds{@queue} > 0)",
                "{{queue}}",
            ),
            unit="s",
            least=1,
        ),
    ]


def _machine() -> list[Panel]:
    return [
        graph(
            "CPU by worker",
            "Cores used, for the ten workers that use the most; the number is the worker's slot, kept over"
            " restarts. All near 1 while tasks wait: the CPU is the limit. Near 0 and busy: tasks wait for"
            " something.",
            Query(
                top_ten(per_second("partisan_worker_cpu_seconds_total", "instance, worker")),
                "{{instance}} #{{worker}}",
            ),
            unit="short",
            least=0.01,
            width=12,
            legend_right=True,
        ),
        graph(
            "Memory by worker",
            "Resident memory of the ten largest workers. A saw tooth shows recycling"
            " (TASKS_PER_WORKER_INSTANCE). An endless climb: a task leaks memory; recycle sooner and find"
            " the processor.",
            Query(
                highest("partisan_worker_resident_memory_bytes", "instance, worker"),
                "{{instance}} #{{worker}}",
            ),
            unit="bytes",
            width=12,
            legend_right=True,
        ),
        graph(
            "Managers' own CPU",
            "Cores that the manager process itself uses. Near 1: the manager is the limit; start a second"
            " one for the queue, or put more work into each task.",
            Query(
                f"sum by (instance) (rate(process_cpu_seconds_total{{@instance}}[$__rate_interval]) {OURS})",
                "{{instance}}",
            ),
            unit="short",
            least=0.01,
            width=12,
        ),
        graph(
            "Managers' own memory",
            "Resident memory of the manager process. It should stay flat; a steady climb is a bug of"
            " django-partisan, please report it.",
            Query(f"sum by (instance) (process_resident_memory_bytes{{@instance}} {OURS})", "{{instance}}"),
            unit="bytes",
            width=12,
        ),
    ]


def _loop() -> list[Panel]:
    return [
        graph(
            "Age of the manager's loop",
            "Time since the last turn of each manager's loop, and since its last claim. Loop above the"
            " dashed line: PartisanManagerStalled; the process or its host hangs.",
            Query(
                "time() - max by (instance) (partisan_manager_last_loop_timestamp_seconds{@queue})",
                "{{instance}} loop",
            ),
            Query(
                "time() - max by (instance) (partisan_manager_last_claim_timestamp_seconds{@queue} > 0)",
                "{{instance}} claim",
            ),
            unit="s",
            least=1,
            steps=low_is_good(limits.LOOP_AGE),
        ),
        graph(
            "Claims",
            "Tasks claimed, and claims made. Many claims with few tasks are polls of an idle queue: see the"
            " next panel. No claims at all while tasks are due: see the age of the loop and the errors.",
            Query("sum(rate(partisan_tasks_claimed_total{@queue}[$__rate_interval]))", "tasks claimed"),
            Query("sum(rate(partisan_claims_total{@queue}[$__rate_interval]))", "claims"),
            unit="suffix:/s",
        ),
        graph(
            "Empty claims",
            "Share of claims that found no task. Near 100% is normal for an idle queue. For a busy queue it"
            " means that several managers compete for too little work.",
            Query(
                "sum by (queue) (rate(partisan_claims_empty_total{@queue}[$__rate_interval]))"
                " / (sum by (queue) (rate(partisan_claims_total{@queue}[$__rate_interval])) > 0)",
                "{{queue}}",
            ),
            unit="percentunit",
            top=1,
        ),
        graph(
            "Claim and settle, p95",
            "Duration of the two statements that every task needs. If both rise, check PostgreSQL (see"
            " Database): locks, a bloated table, a slow disk.",
            Query(quantile(0.95, "partisan_claim_duration_seconds"), "claim"),
            Query(quantile(0.95, "partisan_settle_duration_seconds"), "settle"),
            unit="s",
            colours={"claim": BLUE, "settle": PURPLE},
        ),
        graph(
            "Outcomes per settlement",
            "How many outcomes are written at once. It grows with the load; 1 under heavy load would mean"
            " that group commit does not work.",
            Query(
                "sum(rate(partisan_settle_batch_tasks_sum{@queue}[$__rate_interval]))"
                " / (sum(rate(partisan_settle_batch_tasks_count{@queue}[$__rate_interval])) > 0)",
                "mean",
            ),
            Query(quantile(0.95, "partisan_settle_batch_tasks"), "p95"),
            unit="short",
        ),
        graph(
            "Buffer fill",
            "Share of the buffer in use: tasks that are claimed and not started. Empty while tasks are due:"
            " claiming is too slow. Full: the workers are the limit.",
            Query(
                "sum by (queue) (partisan_buffer_tasks{@queue}) / sum by (queue)"
                " (partisan_buffer_limit{@queue})",
                "{{queue}}",
            ),
            unit="percentunit",
            top=1,
        ),
        graph(
            "Errors of the manager",
            "Claims and settlements that PostgreSQL refused, and lost leases. Each fires an alert; the log"
            " events claim.failed and task.settle_failed contain PostgreSQL's error message.",
            Query("sum(increase(partisan_claim_errors_total{@queue}[$__rate_interval]))", "claim errors"),
            Query("sum(increase(partisan_settle_errors_total{@queue}[$__rate_interval]))", "settle errors"),
            Query(
                "sum(increase(partisan_manager_lease_lost_total{@queue}[$__rate_interval]))", "leases lost"
            ),
            unit="short",
            width=12,
            stacked=True,
            bars=True,
            colours={"claim errors": ORANGE, "settle errors": RED, "leases lost": PURPLE},
        ),
        graph(
            "Outcomes not yet written",
            "Ended runs whose outcome PostgreSQL has not confirmed. Some are normal under load; a number"
            " that stays or grows means that settling is stuck (PartisanSettleErrors).",
            Query("sum by (queue) (partisan_unsettled_tasks{@queue})", "{{queue}}"),
            unit="short",
            width=12,
        ),
    ]


DASHBOARD: Final = Dashboard(
    "partisan-workers",
    (Row("Pool", _pool()), Row("Machine", _machine()), Row("The manager's loop", _loop())),
)
