"""Faults of the database: down, locked, full, read-only, with a missing column, or with a wrong clock."""

from collections.abc import Iterator
from contextlib import ExitStack, closing, contextmanager

import psycopg2

from tests.real_parts.game_day.site import Site

CONNECTIONS = 24
"""The server's limit in the row about used-up connections; a manager, its workers and the load use some."""
CLOCK_AHEAD_SECONDS = 8

TAKER = "taker"
FULL = "too many clients"
END_SESSIONS = """
    SELECT pg_terminate_backend(pid) FROM pg_stat_activity
    WHERE backend_type = 'client backend' AND pid <> pg_backend_pid()
"""
REFUSE = """
    CREATE FUNCTION refuse() RETURNS trigger LANGUAGE plpgsql AS
    $$ BEGIN RAISE EXCEPTION 'no space left' USING ERRCODE = 'disk_full'; END $$
"""
REFUSE_WHAT_ORDERS_ENQUEUE = """
    CREATE TRIGGER refuse BEFORE INSERT ON django_partisan_task
    FOR EACH ROW WHEN (NEW.processor_class = 'Serve') EXECUTE FUNCTION refuse()
"""


@contextmanager
def database_down(site: Site) -> Iterator[None]:
    """Stop the server as in a crash; then start it."""
    site.server.stop("immediate")
    yield
    site.server.start()


@contextmanager
def table_locked(site: Site) -> Iterator[None]:
    """Lock the table in a transaction; then roll back."""
    with closing(psycopg2.connect(site.server.url)) as connection, connection.cursor() as cursor:
        cursor.execute("LOCK TABLE django_partisan_task IN ACCESS EXCLUSIVE MODE")
        yield
        connection.rollback()


@contextmanager
def connections_used_up(site: Site) -> Iterator[None]:
    """End all sessions and take every connection; then release them."""
    with ExitStack() as taken:
        first = taken.enter_context(closing(site.connect(TAKER)))
        while _take_rest(site, taken) and _end_others(first):
            pass
        yield


def _take_rest(site: Site, taken: ExitStack) -> bool:
    """Open connections until the server refuses more; return whether it did."""
    for _ in range(CONNECTIONS):
        try:
            taken.enter_context(closing(site.connect(TAKER)))
        except psycopg2.OperationalError as refused:
            if FULL not in str(refused):
                raise
            return True
    return False


def _end_others(first: "psycopg2.extensions.connection") -> bool:
    """End all other sessions; return whether there were any."""
    with first.cursor() as cursor:
        cursor.execute(f"{END_SESSIONS} AND application_name <> %s", [TAKER])
        return bool(cursor.fetchall())


@contextmanager
def read_only(site: Site) -> Iterator[None]:
    """Refuse writes in every session, as after a failover; then allow them again."""
    site.execute("ALTER DATABASE postgres SET default_transaction_read_only = on", END_SESSIONS)
    yield
    site.execute(
        "SET default_transaction_read_only = off",
        "ALTER DATABASE postgres RESET default_transaction_read_only",
        END_SESSIONS,
    )


@contextmanager
def long_transaction(site: Site) -> Iterator[None]:
    """Leave a transaction open; then end it."""
    with closing(psycopg2.connect(site.server.url)) as connection, connection.cursor() as cursor:
        cursor.execute("SELECT count(*) FROM django_partisan_task")
        yield
        connection.rollback()


@contextmanager
def column_missing(site: Site) -> Iterator[None]:
    """Rename a column, as a bad deploy does; then rename it back."""
    site.execute("ALTER TABLE django_partisan_task RENAME COLUMN priority TO importance")
    yield
    site.execute("ALTER TABLE django_partisan_task RENAME COLUMN importance TO priority")


@contextmanager
def enqueueing_fails(site: Site) -> Iterator[None]:
    """Refuse inserts by tasks that enqueue other tasks; then allow them again."""
    with site.stream("Order", per_second=4):
        site.execute(REFUSE, REFUSE_WHAT_ORDERS_ENQUEUE)
        yield
        site.execute("DROP TRIGGER refuse ON django_partisan_task")


@contextmanager
def clock_ahead(site: Site) -> Iterator[None]:
    """Replace the manager with one whose clock is ahead; then replace it again."""
    site.replace_manager(GAME_DAY_CLOCK_AHEAD_SECONDS=str(CLOCK_AHEAD_SECONDS))
    yield
    site.replace_manager()
