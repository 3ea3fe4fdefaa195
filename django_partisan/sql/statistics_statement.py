"""The statement that reads the statistics of a queue and of the table, bounded, from partial indexes only."""

from typing import Any, Final, NamedTuple

from django_partisan.outcomes import REASONS_TO_NAME
from django_partisan.sql.manager_rows import IS_ALIVE, SERVES

# The settings are local to the transaction, so that they also work behind a pooler. A sequential scan would
# be chosen where the planner believes that a queue holds most of the table.
PREPARE: Final = """
    SELECT set_config('statement_timeout', %s, true),
           set_config('enable_seqscan', 'off', true),
           set_config('enable_bitmapscan', 'off', true),
           set_config('jit', 'off', true),
           set_config('max_parallel_workers_per_gather', '0', true),
           extract(epoch FROM clock_timestamp())::float8
"""

# Waiting rows are counted in the index that contains them; rows that are due but not yet promoted are in the
# index of scheduled rows. If there are too many failed rows to count, both ends of the index are read to
# estimate the share of cancelled and expired tasks, which may be the latest or the oldest rows.
STATISTICS: Final = f"""
WITH RECURSIVE ready AS MATERIALIZED (
    SELECT count(*) AS n FROM (
        SELECT FROM django_partisan_task
         WHERE queue_name = %(queue)s AND status = 'new' AND ready
         ORDER BY priority, id LIMIT %(limit)s) AS found
), overdue AS MATERIALIZED (
    SELECT count(*) AS n FROM (
        SELECT FROM django_partisan_task
         WHERE queue_name = %(queue)s AND status = 'new' AND NOT ready AND held IS NULL
           AND execute_after <= now()
         ORDER BY execute_after LIMIT %(limit)s) AS found
), lane AS (
    (SELECT priority, 1 AS place FROM django_partisan_task
      WHERE queue_name = %(queue)s AND status = 'new' AND ready AND (SELECT n FROM ready) > %(front)s
      ORDER BY priority LIMIT 1)
     UNION ALL
    SELECT following.priority, lane.place + 1
      FROM lane, LATERAL (
        SELECT priority FROM django_partisan_task
         WHERE queue_name = %(queue)s AND status = 'new' AND ready AND priority > lane.priority
         ORDER BY priority LIMIT 1) AS following
     WHERE lane.place < %(lanes)s
), oldest AS MATERIALIZED (
    SELECT execute_after, processor_class FROM (
        (SELECT execute_after, processor_class FROM django_partisan_task
          WHERE queue_name = %(queue)s AND status = 'new' AND ready
          ORDER BY priority, id LIMIT %(front)s)
         UNION ALL
        (SELECT execute_after, processor_class FROM django_partisan_task
          WHERE queue_name = %(queue)s AND status = 'new' AND NOT ready AND held IS NULL
            AND execute_after <= now()
          ORDER BY execute_after LIMIT 1)
         UNION ALL
        SELECT first.execute_after, first.processor_class
          FROM lane, LATERAL (
            SELECT execute_after, processor_class FROM django_partisan_task
             WHERE queue_name = %(queue)s AND status = 'new' AND ready AND priority = lane.priority
             ORDER BY id LIMIT %(lane_rows)s) AS first) AS candidate
     ORDER BY execute_after LIMIT 1
), scheduled AS MATERIALIZED (
    SELECT count(*) AS n FROM (
        SELECT FROM django_partisan_task
         WHERE queue_name = %(queue)s AND status = 'new' AND NOT ready AND held IS NULL
           AND execute_after > now()
         ORDER BY execute_after LIMIT %(limit)s) AS found
), in_process AS MATERIALIZED (
    SELECT count(*) AS n FROM (
        SELECT FROM django_partisan_task
         WHERE queue_name = %(queue)s AND status = 'in_process'
         ORDER BY claimed_by LIMIT %(limit)s) AS found
), latest_error AS MATERIALIZED (
    SELECT count(*) AS read, count(*) FILTER (WHERE coalesce(error_reason, '') <> ALL(%(no_failures)s)) AS n
      FROM (SELECT error_reason FROM django_partisan_task
             WHERE queue_name = %(queue)s AND status = 'error'
             ORDER BY finished_at DESC LIMIT %(limit)s) AS found
), oldest_error AS MATERIALIZED (
    SELECT count(*) AS read, count(*) FILTER (WHERE coalesce(error_reason, '') <> ALL(%(no_failures)s)) AS n
      FROM (SELECT error_reason FROM django_partisan_task
             WHERE queue_name = %(queue)s AND status = 'error'
               AND (SELECT read FROM latest_error) > %(counted)s
             ORDER BY finished_at LIMIT %(limit)s) AS found
), error AS (
    SELECT greatest(latest_error.n, oldest_error.n) AS n,
           latest_error.read > %(counted)s AS is_estimate,
           (latest_error.n + oldest_error.n)::float8
               / greatest(latest_error.read + oldest_error.read, 1) AS failures
      FROM latest_error, oldest_error
), kind AS (
    (SELECT held, processor_class FROM django_partisan_task
      WHERE queue_name = %(queue)s AND held IS NOT NULL AND status = 'new'
      ORDER BY held, processor_class LIMIT 1)
     UNION ALL
    SELECT following.held, following.processor_class
      FROM kind, LATERAL (
        SELECT held, processor_class FROM django_partisan_task
         WHERE queue_name = %(queue)s AND held IS NOT NULL AND status = 'new'
           AND (held, processor_class) > (kind.held, kind.processor_class)
         ORDER BY held, processor_class LIMIT 1) AS following
), held AS (
    SELECT kind.processor_class, kind.held, (SELECT count(*) FROM (
        SELECT FROM django_partisan_task AS task
         WHERE queue_name = %(queue)s AND held = kind.held AND processor_class = kind.processor_class
           AND status = 'new'
         ORDER BY priority, id LIMIT %(front)s) AS found) AS n
      FROM (SELECT * FROM kind LIMIT %(kinds)s) AS kind
), alive AS MATERIALIZED (
    SELECT queue_name FROM django_partisan_manager
     WHERE {IS_ALIVE} AND {SERVES}
), ready_queue AS (
    (SELECT queue_name FROM django_partisan_task WHERE status = 'new' AND ready ORDER BY queue_name LIMIT 1)
     UNION ALL
    SELECT following.queue_name
      FROM ready_queue, LATERAL (
        SELECT queue_name FROM django_partisan_task
         WHERE status = 'new' AND ready AND queue_name > ready_queue.queue_name
         ORDER BY queue_name LIMIT 1) AS following
), upcoming_queue AS (
    (SELECT queue_name FROM django_partisan_task
      WHERE status = 'new' AND NOT ready AND held IS NULL ORDER BY queue_name LIMIT 1)
     UNION ALL
    SELECT following.queue_name
      FROM upcoming_queue, LATERAL (
        SELECT queue_name FROM django_partisan_task
         WHERE status = 'new' AND NOT ready AND held IS NULL AND queue_name > upcoming_queue.queue_name
         ORDER BY queue_name LIMIT 1) AS following
), unserved AS (
    SELECT queue.queue_name, (SELECT count(*) FROM (
        SELECT FROM django_partisan_task AS task
         WHERE task.queue_name = queue.queue_name AND status = 'new' AND ready
         ORDER BY priority, id LIMIT %(unserved)s) AS found) + (SELECT count(*) FROM (
        SELECT FROM django_partisan_task AS task
         WHERE task.queue_name = queue.queue_name AND status = 'new' AND NOT ready AND held IS NULL
           AND execute_after <= now()
         ORDER BY execute_after LIMIT %(unserved)s) AS found) AS n
      FROM ((SELECT * FROM ready_queue LIMIT %(queues)s)
             UNION
            (SELECT * FROM upcoming_queue LIMIT %(queues)s)) AS queue
     WHERE NOT EXISTS (SELECT FROM alive WHERE alive.queue_name = queue.queue_name)
), planner AS (
    SELECT relname, CASE WHEN relpages > 0 AND reltuples > 0
           THEN reltuples / relpages * (pg_relation_size(oid) / current_setting('block_size')::int)
           ELSE greatest(reltuples, 0) END AS estimate
      FROM pg_class
     WHERE oid IN (to_regclass('partisan_task_ready'), to_regclass('partisan_task_upcoming'),
                   to_regclass('partisan_task_in_process'), to_regclass('partisan_task_failed'))
), share AS (
    SELECT most_common_freqs[array_position(most_common_vals::text::text[], %(queue)s)] AS of_queue
      FROM pg_stats
      JOIN pg_namespace ON nspname = schemaname
      JOIN pg_class ON relnamespace = pg_namespace.oid AND relname = tablename
     WHERE pg_class.oid = 'django_partisan_task'::regclass AND attname = 'queue_name' AND NOT inherited
)
SELECT ready.n, overdue.n, scheduled.n, in_process.n, error.n, error.is_estimate, error.failures,
       coalesce((SELECT jsonb_agg(jsonb_build_array(processor_class, held, n)) FROM held), '[]')::text,
       (SELECT estimate FROM planner WHERE relname = 'partisan_task_ready'),
       (SELECT estimate FROM planner WHERE relname = 'partisan_task_upcoming'),
       (SELECT estimate FROM planner WHERE relname = 'partisan_task_in_process'),
       (SELECT estimate FROM planner WHERE relname = 'partisan_task_failed'),
       (SELECT of_queue FROM share),
       (SELECT extract(epoch FROM now() - execute_after)::float8 FROM oldest),
       (SELECT processor_class FROM oldest),
       (SELECT count(*) FROM alive WHERE queue_name = %(queue)s),
       coalesce((SELECT jsonb_agg(jsonb_build_array(queue_name, n))
                   FROM (SELECT queue_name, count(*) AS n FROM alive WHERE queue_name <> %(queue)s
                          GROUP BY queue_name ORDER BY queue_name LIMIT %(queues)s) AS one), '[]')::text,
       table_.n_tup_ins, table_.n_live_tup, table_.n_dead_tup, pg_total_relation_size(table_.relid),
       greatest(
           (SELECT max(extract(epoch FROM now() - xact_start)) FROM pg_stat_activity
             WHERE datname = current_database() AND backend_type = 'client backend'
               AND pid <> pg_backend_pid()),
           (SELECT max(extract(epoch FROM now() - prepared)) FROM pg_prepared_xacts
             WHERE database = current_database()))::float8,
       current_setting('server_version'),
       coalesce((SELECT jsonb_agg(jsonb_build_array(queue_name, n))
                   FROM (SELECT * FROM unserved WHERE n > 0 LIMIT %(unserved_queues)s) AS one), '[]')::text,
       (SELECT extract(epoch FROM last_at)::float8 FROM django_partisan_chore WHERE name = 'prune'),
       NOT pg_is_in_recovery() AND NOT current_setting('default_transaction_read_only')::boolean
  FROM ready, overdue, scheduled, in_process, error,
       (SELECT * FROM pg_stat_user_tables WHERE relid = 'django_partisan_task'::regclass) AS table_
"""


class Limits(NamedTuple):
    """Limits for the number of rows that are read."""

    counted: int = 100_000
    """Rows of a state that are counted; more are estimated."""
    front: int = 10_000
    """Due rows, in the order of claims, among which the oldest is searched: no index is by due time."""
    lanes: int = 100
    """Priorities whose first ``lane_rows`` rows are also searched if there are more due rows than that."""
    lane_rows: int = 200
    kinds: int = 50
    """Pairs of reason and processor whose held rows are counted, up to ``front`` each."""
    queues: int = 200
    """Queues with ready rows, and as many with scheduled rows, that are checked for a manager, and as many
    queues whose managers are counted."""
    unserved_queues: int = 20
    """Queues without a manager whose due rows are counted."""
    unserved: int = 500
    """Due rows of a queue without a manager that are counted, of those promoted and of the others each."""

    def parameters(self, queue: str) -> dict[str, Any]:
        """Return the parameters of ``STATISTICS``."""
        no_failures = list(REASONS_TO_NAME)
        return {"queue": queue, **self._asdict(), "limit": self.counted + 1, "no_failures": no_failures}


LIMITS: Final = Limits()
