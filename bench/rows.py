"""SQL that fills the table before a measurement with waiting, finished, old or scheduled rows."""

_COLUMNS = (
    "status, queue_name, created_at, updated_at, processor_class, priority, execute_after, arguments, extra"
)
_ARGUMENTS = """'{"args": [], "kwargs": {"i": -5, "m": 0}}', '{}'"""

WAITING = (
    f"INSERT INTO django_partisan_task ({_COLUMNS}, ready)"
    f" SELECT 'new', 'default', now(), now(), 'Bench', 10, now(), {_ARGUMENTS}, true"
    " FROM generate_series(1, %s)"
)
FINISHED = (
    f"INSERT INTO django_partisan_task ({_COLUMNS}, attempts, finished_at)"
    f" SELECT 'finished', 'default', now(), now(), 'Bench', 10, now(), {_ARGUMENTS}, 1, now()"
    " FROM generate_series(1, %s)"
)
TO_BE_PRUNED = (
    f"INSERT INTO django_partisan_task ({_COLUMNS}, attempts, finished_at)"
    f" SELECT 'finished', 'default', long_ago, long_ago, 'Bench', 10, long_ago, {_ARGUMENTS}, 1, long_ago"
    " FROM generate_series(1, %s), (SELECT now() - interval '30 days' AS long_ago) AS made"
)
SCHEDULED_FIRST_IN_LINE = (
    f"INSERT INTO django_partisan_task ({_COLUMNS})"
    f" SELECT 'new', 'default', now(), now(), 'Bench', 0, now() + interval '1 day', {_ARGUMENTS}"
    " FROM generate_series(1, %s)"
)
