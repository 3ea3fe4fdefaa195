"""The dashboard Database: is the table healthy, what blocks vacuum, and can the figures be trusted?"""

from typing import Final

from grafana.builder import limits
from grafana.builder.colours import GREEN, ORANGE, PURPLE, RED, low_is_good
from grafana.builder.dashboard import Dashboard, Row
from grafana.builder.panels import Panel, figure, graph
from grafana.builder.queries import Query
from grafana.builder.summary import DATABASE_STATE, DATABASE_WORDS


def _trust() -> list[Panel]:
    return [
        figure(
            "Database",
            "Whether PostgreSQL answered every manager shown at the last scrape and accepts writes and"
            " queries. Red: try psql from the manager's host, then check locks and the role's privileges.",
            Query(DATABASE_STATE),
            unit="short",
            width=6,
            words=DATABASE_WORDS,
        ),
        figure(
            "Oldest transaction",
            "Age of the oldest transaction in this database. While it is open, vacuum cannot remove newer"
            " dead rows, and claims become slow. Red: PartisanOldTransaction; the runbook shows how to find"
            " its owner.",
            Query("max(partisan_oldest_transaction_age_seconds{@instance})"),
            unit="s",
            width=6,
            steps=low_is_good(limits.TRANSACTION_AGE),
        ),
        figure(
            "Dead rows",
            "Row versions that vacuum has not removed yet. Red, and more than the live rows for 30 minutes:"
            " PartisanTableBloat fires. Look for an old transaction, then check autovacuum.",
            Query("max(partisan_task_table_dead_rows{@instance})"),
            unit="short",
            width=6,
            steps=low_is_good(limits.DEAD_ROWS),
        ),
        figure(
            "Clock skew",
            "Largest difference between a manager's clock and the database's. Red: PartisanClockSkew. Waits"
            " and leases use the database's clock, so nothing runs early, but the times in logs and traces"
            " disagree.",
            Query("max(abs(partisan_db_clock_skew_seconds{@queue}))"),
            unit="s",
            width=6,
            steps=low_is_good(limits.CLOCK_SKEW),
        ),
    ]


def _table() -> list[Panel]:
    return [
        graph(
            "Inserts",
            "New rows in the task table from all sources, as counted by PostgreSQL. A burst explains a"
            " backlog; a drop to zero means that the application enqueues nothing.",
            Query(
                "max by (job) (rate(partisan_task_table_inserts_total{@instance}[$__rate_interval]))",
                "{{job}}",
            ),
            unit="suffix:/s",
        ),
        graph(
            "Live and dead rows",
            "Estimates of PostgreSQL. Dead rows rise and fall with vacuum. If dead rows keep climbing and"
            " live rows do not, something blocks vacuum: see the oldest transaction.",
            Query("max(partisan_task_table_live_rows{@instance})", "live"),
            Query("max(partisan_task_table_dead_rows{@instance})", "dead"),
            unit="short",
            colours={"live": GREEN, "dead": ORANGE},
        ),
        graph(
            "Size of the table",
            "Size including the indexes. It grows with finished rows until managers prune as many as are"
            " added (see KEEP_FINISHED_SECONDS). Bloat does not shrink by itself.",
            Query("max by (job) (partisan_task_table_bytes{@instance})", "{{job}}"),
            unit="bytes",
        ),
        graph(
            "Oldest transaction",
            "A steady climb is one transaction that stays open; the drop is its end. The dashed line is the"
            " limit of PartisanOldTransaction.",
            Query("max by (job) (partisan_oldest_transaction_age_seconds{@instance})", "{{job}}"),
            unit="s",
            least=1,
            width=12,
            steps=low_is_good(limits.TRANSACTION_AGE),
        ),
        graph(
            "Pruned",
            "Rows of long-finished tasks that managers deleted: at most 2000 per second, in passes that"
            " start at least five minutes apart.",
            Query(
                "sum by (status) (rate(partisan_tasks_pruned_total{@instance}[$__rate_interval]))",
                "{{status}}",
            ),
            unit="suffix:/s",
            width=12,
        ),
        graph(
            "Time since the last pruning",
            "Normal: a saw tooth with five minutes between the teeth, or more if many rows are kept. A"
            " steady climb: no manager prunes; look for task.prune_failed in the log.",
            Query("time() - max by (job) (partisan_last_prune_timestamp_seconds{@instance})", "{{job}}"),
            unit="s",
            least=1,
            width=12,
        ),
        graph(
            "Scheduled ahead and failed",
            "Rows that are due later, and failed rows that wait for a decision: requeue or delete them."
            " Failed rows are deleted automatically only if KEEP_FAILED_SECONDS is set.",
            Query('sum(max by (job, queue) (partisan_queue_tasks{@queue,state="scheduled"}))', "scheduled"),
            Query('sum(max by (job, queue) (partisan_queue_tasks{@queue,state="error"}))', "failed"),
            unit="short",
            width=12,
            colours={"scheduled": PURPLE, "failed": RED},
        ),
    ]


def _figures() -> list[Panel]:
    return [
        graph(
            "Time to read the figures",
            "How long the query for these figures takes. After 2 s it is cancelled, and the previous figures"
            " are shown. Slow: statistics are outdated (run ANALYZE on the table), or PostgreSQL is"
            " overloaded.",
            Query("max by (queue) (partisan_db_scrape_duration_seconds{@queue})", "{{queue}}"),
            unit="s",
        ),
        graph(
            "Age of the figures",
            "How old the figures were when they were scraped. Up to 5 s is normal. The age climbs while the"
            " query fails; after 60 s the figures are no longer exported, so that they do not mislead.",
            Query("max by (queue) (partisan_db_data_age_seconds{@queue})", "{{queue}}"),
            unit="s",
            least=1,
        ),
        graph(
            "Clock skew",
            "Difference between the database's clock and a manager's, as an absolute value. The dashed line"
            " is the limit of PartisanClockSkew: synchronize the host with a time server.",
            Query("max by (instance) (abs(partisan_db_clock_skew_seconds{@queue}))", "{{instance}}"),
            unit="s",
            steps=low_is_good(limits.CLOCK_SKEW),
        ),
    ]


DASHBOARD: Final = Dashboard(
    "partisan-database",
    (
        Row("Can the figures be trusted", _trust()),
        Row("The table", _table()),
        Row("Reading the figures", _figures()),
    ),
)
