"""What the tests ask the database about managers."""

from django.db import connection


def is_asleep() -> bool:
    """Tell whether every manager has said that it wants to be notified."""
    with connection.cursor() as cursor:
        cursor.execute("SELECT bool_and(sleeping) FROM django_partisan_manager")
        return bool(cursor.fetchone()[0])


def sessions() -> int:
    """Return how many connections of ours PostgreSQL has."""
    with connection.cursor() as cursor:
        cursor.execute(
            "SELECT count(*) FROM pg_stat_activity"
            " WHERE datname = current_database() AND application_name LIKE 'django_partisan%%'",
            [],
        )
        count: int = cursor.fetchone()[0]
        return count
