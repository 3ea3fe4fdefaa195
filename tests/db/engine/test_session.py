"""PostgreSQL ends long statements, our own deadline ends the rest; no session setting changes for that."""

from collections.abc import Iterator
from typing import Any

import pytest
from django.db import Error, OperationalError, ProgrammingError, connection

from django_partisan.sql.connection import execute, fetch_all, open_connection
from django_partisan.sql.errors import sqlstate
from django_partisan.sql.preparable import Preparable
from django_partisan.sql.session import ANSWER_SECONDS_MIN, IDLE_SECONDS, Session, answer_seconds
from tests.db.engine.database_thread_harness import PATIENT_SECONDS, close, has_ended
from tests.support.database import open_transaction
from tests.support.waiting import let_pass, wait_until

pytestmark = pytest.mark.django_db(transaction=True)

READ_ONLY = "SET SESSION CHARACTERISTICS AS TRANSACTION READ ONLY"
WRITE = "DELETE FROM django_partisan_task"
ADD = Preparable("add", "SELECT %s::int + %s::int")
END_OWN = "SELECT pg_terminate_backend(pg_backend_pid())"


class Sessions:
    """Sessions that are closed after the test."""

    def __init__(self) -> None:
        self.made: list[Session] = []

    def open(self, answer_seconds: float = PATIENT_SECONDS, **options: Any) -> Session:
        session = Session("test", answer_seconds)
        session.connection.settings_dict["OPTIONS"] |= options
        self.made.append(session)
        session.begin()
        session.open()
        return session


@pytest.fixture
def sessions() -> Iterator[Sessions]:
    made = Sessions()
    yield made
    for session in made.made:
        session.close()


@pytest.fixture
def replaced() -> Iterator[str]:
    """Yield a schema whose functions a session may find before those of PostgreSQL."""
    execute(connection, "CREATE SCHEMA replaced")
    yield "replaced"
    execute(connection, "DROP SCHEMA replaced CASCADE")


@pytest.fixture
def behind_pooler(sessions: Sessions, replaced: str) -> Session:
    """A session for which another backend seems to answer, as behind a pooler: the first of ``sessions``."""
    other = pid_of(sessions.open())
    execute(
        connection,
        f"CREATE FUNCTION {replaced}.pg_backend_pid() RETURNS int LANGUAGE sql AS 'SELECT {other}'",
    )
    return sessions.open(options=f"-c search_path={replaced},pg_catalog,public")


def pid_of(session: Session) -> int:
    return int(fetch_all(session.connection, "SELECT pg_backend_pid()")[0][0])


def setting(session: Session, name: str = "statement_timeout") -> str:
    return str(fetch_all(session.connection, f"SHOW {name}")[0][0])


def outside(session: Session, name: str = "statement_timeout") -> str:
    """Return a setting as the next client of the server's session would see it."""
    with session.connection.connection.cursor() as cursor:
        cursor.execute(f"SHOW {name}")
        return str(cursor.fetchone()[0])


def failure(session: Session, statement: str) -> Error:
    with pytest.raises(Error) as raised:
        execute(session.connection, statement)
    return raised.value


def test_the_server_ends_a_statement_that_takes_too_long_and_the_session_goes_on(sessions):
    session = sessions.open(0.2)
    pid = pid_of(session)

    error = failure(session, "SELECT pg_sleep(60)")

    assert sqlstate(error) == "57014"
    assert not session.is_lost(error)
    assert pid_of(session) == pid


def test_the_limit_holds_for_each_statement_and_stays_with_none(sessions):
    session = sessions.open(0.2)
    for _ in range(3):
        execute(session.connection, "SELECT pg_sleep(0.1)")

    assert setting(session) == "200ms"
    assert outside(session) == "0"


@pytest.mark.parametrize(("hosts", "effective"), [("100ms", "100ms"), ("200ms", "200ms"), ("1min", "200ms")])
def test_a_shorter_limit_of_the_host_is_kept(hosts, effective, sessions):
    session = sessions.open(0.2, options=f"-c statement_timeout={hosts}")

    assert setting(session) == effective
    assert outside(session) == hosts


def test_a_transaction_that_nobody_goes_on_with_is_ended_by_the_server(sessions):
    session = sessions.open(0.2)
    pid = pid_of(session)
    session.connection.set_autocommit(False)
    execute(session.connection, WRITE)

    wait_until(lambda: has_ended(pid))

    assert session.is_lost(failure(session, "SELECT"))
    assert not session.connection.is_usable()


def test_the_deadline_of_an_answer_is_a_sixth_of_the_lease_and_at_least_two_seconds():
    assert [answer_seconds(lease) for lease in (3.0, 30.0)] == [ANSWER_SECONDS_MIN, 5.0]


def test_a_result_is_that_of_the_last_statement(sessions):
    assert fetch_all(sessions.open().connection, "SELECT 1; SELECT 2") == [(2,)]


def test_what_the_server_still_does_for_a_session_ends_before_the_next_does_anything(sessions):
    session = sessions.open()
    pid = pid_of(session)
    raw = session.connection.connection
    session.shut_down_connection()
    session.shut_down_connection()
    assert session.is_lost(failure(session, "SELECT"))
    assert raw.closed
    session.close()

    session.open()

    assert pid_of(session) != pid
    wait_until(lambda: has_ended(pid))


def test_while_an_earlier_session_does_not_end_there_is_no_other(sessions, replaced):
    execute(
        connection,
        f"CREATE FUNCTION {replaced}.pg_terminate_backend(int, bigint) RETURNS bool LANGUAGE sql"
        " AS 'SELECT false'",
    )
    survivor = sessions.open()
    session = sessions.open(options=f"-c search_path={replaced},pg_catalog,public")
    session.close()
    session._abandoned = survivor._backend
    for _ in range(2):
        with pytest.raises(OperationalError, match=f"the earlier session {pid_of(survivor)} has not ended"):
            session.open()
        assert session.connection.connection is None
    survivor.close()
    wait_until(lambda: has_ended(survivor._abandoned.pid))

    session.open()

    assert pid_of(session)


def test_a_role_that_may_end_no_session_goes_on_without(sessions, replaced):
    execute(
        connection,
        f"CREATE FUNCTION {replaced}.pg_terminate_backend(int, bigint) RETURNS bool LANGUAGE plpgsql AS"
        " $$BEGIN RAISE insufficient_privilege; END$$",
    )
    survivor = sessions.open()
    session = sessions.open(options=f"-c search_path={replaced},pg_catalog,public")
    session.close()
    session._abandoned = survivor._backend

    session.open()

    assert pid_of(session) != pid_of(survivor)
    assert session._abandoned is None


def test_a_session_behind_a_pooler_is_nobodys_to_end(sessions, behind_pooler):
    behind_pooler.close()
    behind_pooler.open()

    assert behind_pooler._abandoned is behind_pooler._backend is None
    assert not has_ended(pid_of(sessions.made[0]))


def test_a_standby_and_a_server_that_goes_are_left(sessions):
    session = sessions.open()
    assert not session.is_lost(failure(session, "SELECT nothing"))
    execute(session.connection, READ_ONLY)
    assert session.is_lost(failure(session, WRITE))

    error = failure(session, END_OWN)

    assert session.is_lost(error)
    session.close()
    assert not session.is_lost(error)


def test_an_open_transaction_is_not_kept_after_an_error(sessions):
    session = sessions.open()
    session.connection.set_autocommit(False)

    assert session.is_lost(failure(session, "SELECT nothing"))


def test_a_connection_that_ended_while_it_was_idle_is_noticed_after_a_moment(sessions):
    session = sessions.open()
    pid = pid_of(session)
    session.end()
    assert session.waits_since is None
    execute(connection, "SELECT pg_terminate_backend(%s, 20000)", (pid,))
    assert not session.has_ended_idle

    let_pass(IDLE_SECONDS)

    wait_until(lambda: session.has_ended_idle)
    session.close()
    assert not session.has_ended_idle


def test_a_connection_that_is_opened_within_a_call_is_guarded_as_well(sessions):
    session = sessions.open()
    session.connection.close()
    execute(session.connection, "SELECT")

    session.shut_down_connection()

    assert sqlstate(failure(session, "SELECT")) is None


def test_there_is_nothing_to_hang_up_before_a_connection(sessions):
    session = sessions.open()
    session.close()

    session.shut_down_connection()

    assert session.connection.connection is None


@pytest.mark.parametrize(("variables", "timeout"), [({}, 7), ({"PGCONNECT_TIMEOUT": "4"}, None)])
def test_the_hosts_limits_of_the_network_are_kept(variables, timeout, monkeypatch):
    monkeypatch.delenv("PGCONNECT_TIMEOUT", raising=False)
    for name, value in variables.items():
        monkeypatch.setenv(name, value)
    monkeypatch.setitem(connection.settings_dict, "OPTIONS", {"keepalives_idle": 99})

    options = open_connection("test", 6.1).settings_dict["OPTIONS"]

    assert options.get("connect_timeout") == timeout
    assert (options["tcp_user_timeout"], options["keepalives_idle"], options["keepalives_interval"]) == (
        7000,
        99,
        2,
    )


def prepared(session: Session) -> list[str]:
    """Return the names of the statements prepared on the session's connection, without their checksums."""
    rows = fetch_all(session.connection, "SELECT name FROM pg_prepared_statements ORDER BY prepare_time")
    return [name.rpartition("_")[0] for (name,) in rows]


def test_a_statement_is_prepared_once_for_each_connection(sessions):
    session = sessions.open()
    for _ in range(2):
        assert [fetch_all(session.connection, ADD, (number, 1)) for number in (1, 2)] == [[(2,)], [(3,)]]
        assert fetch_all(session.connection, str(ADD), (1, 1)) == [(2,)]
        assert prepared(session) == ["partisan_add"]
        assert fetch_all(session.connection, "SELECT generic_plans FROM pg_prepared_statements") == [(2,)]
        close(session)
        session.open()
        assert prepared(session) == []


def test_what_a_prepared_statement_needs_is_set_for_its_transaction_only(sessions):
    session = sessions.open(0.2)
    show = Preparable("show", "SELECT current_setting('jit'), current_setting('lock_timeout'), %s::int")

    rows = fetch_all(session.connection, show.with_settings("SET LOCAL lock_timeout = 5; "), (1,))

    assert rows == [("off", "5ms", 1)]
    assert outside(session, "lock_timeout") == outside(session, "statement_timeout") == "0"
    assert outside(session, "plan_cache_mode") == "auto"
    assert {outside(session, f"enable_{name}") for name in ("seqscan", "bitmapscan")} == {"on"}


def test_in_a_transaction_nothing_is_prepared(sessions):
    session = sessions.open()
    session.connection.set_autocommit(False)

    assert fetch_all(session.connection, ADD, (1, 1)) == [(2,)]

    assert prepared(session) == []


def test_behind_a_pooler_nothing_is_prepared(behind_pooler):
    assert fetch_all(behind_pooler.connection, ADD, (1, 1)) == [(2,)]

    assert prepared(behind_pooler) == []


@pytest.mark.parametrize(
    "cause", ["DEALLOCATE ALL", "ALTER TABLE changing ALTER number TYPE bigint"], ids=["lost", "changed"]
)
def test_where_a_prepared_statement_is_no_longer_valid_its_text_is_executed(cause, sessions):
    session = sessions.open()
    execute(session.connection, "CREATE TEMPORARY TABLE changing AS SELECT 1 AS number")
    read = Preparable("read", "SELECT number FROM changing WHERE number = %s")
    assert fetch_all(session.connection, read, (1,)) == [(1,)]
    execute(session.connection, cause)
    before = prepared(session)

    assert fetch_all(session.connection, read, (1,)) == [(1,)]
    assert fetch_all(session.connection, ADD, (1, 1)) == [(2,)]
    assert prepared(session) == before


def test_other_errors_of_a_prepared_statement_are_raised(sessions):
    session = sessions.open()
    execute(session.connection, "CREATE TEMPORARY TABLE dropped AS SELECT 1 AS number")
    read = Preparable("read", "SELECT number FROM dropped WHERE number = %s")
    fetch_all(session.connection, read, (1,))
    execute(session.connection, "DROP TABLE dropped")

    with pytest.raises(ProgrammingError, match="does not exist"):
        fetch_all(session.connection, read, (1,))

    assert fetch_all(session.connection, ADD, (1, 1)) == [(2,)]
    assert prepared(session) == ["partisan_read", "partisan_add"]


def test_a_statement_is_prepared_within_its_own_limits(sessions):
    session = sessions.open()
    count = Preparable("count", "SELECT count(*) FROM django_partisan_task WHERE id = %s")
    with open_transaction("LOCK TABLE django_partisan_task"), pytest.raises(Error) as raised:
        fetch_all(session.connection, count.with_settings("SET LOCAL lock_timeout = 50; "), (1,))

    assert sqlstate(raised.value) == "55P03"


def test_where_a_statement_is_prepared_already_its_text_is_executed(sessions):
    session = sessions.open()
    execute(session.connection, ADD.preparation)

    assert fetch_all(session.connection, ADD, (1, 1)) == [(2,)]


def test_on_a_connection_made_during_a_call_nothing_is_prepared_until_the_next(sessions):
    session = sessions.open()
    fetch_all(session.connection, ADD, (1, 1))
    session.connection.close()

    assert fetch_all(session.connection, ADD, (1, 1)) == [(2,)]
    assert prepared(session) == []

    session.open()
    assert fetch_all(session.connection, ADD, (1, 1)) == [(2,)]
    assert prepared(session) == ["partisan_add"]
