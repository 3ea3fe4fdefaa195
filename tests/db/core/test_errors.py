"""The kind of an error follows from its SQLSTATE, whichever driver raised it."""

import pytest
from django.db import Error, InterfaceError, OperationalError, connection, transaction

from django_partisan.sql.connection import execute
from django_partisan.sql.errors import ErrorKind, explained, kind_of, sqlstate
from django_partisan.sql.tokens import new_token

pytestmark = pytest.mark.django_db


def raised(code: str) -> Error:
    """Return the error of a statement that PostgreSQL ends with an SQLSTATE."""
    statement = f"DO $$ BEGIN RAISE EXCEPTION 'as asked' USING ERRCODE = '{code}'; END $$"
    with pytest.raises(Error) as caught, transaction.atomic():
        execute(connection, statement)
    return caught.value


@pytest.mark.parametrize(
    ("kind", "codes"),
    [
        (ErrorKind.LOCKED, ["55P03", "40P01", "40001"]),
        (ErrorKind.CANCELLED, ["57014"]),
        (ErrorKind.READ_ONLY, ["25006"]),
        (ErrorKind.OUTAGE, ["57P01", "57P02", "57P03", "57P05", "53300", "53100", "08006", "42P01", "42501"]),
        (ErrorKind.REFUSED, ["22P02", "22021", "23505", "23514", "54000", "P0001"]),
    ],
)
def test_the_sqlstate_says_what_an_error_means(kind: ErrorKind, codes: list[str]):
    assert {code: kind_of(raised(code)) for code in codes} == dict.fromkeys(codes, kind)


def test_an_error_without_a_sqlstate_is_judged_by_its_class():
    assert sqlstate(OperationalError("the server closed the connection")) is None
    assert kind_of(OperationalError("the server closed the connection")) is ErrorKind.OUTAGE
    assert kind_of(InterfaceError("connection already closed")) is ErrorKind.OUTAGE
    assert kind_of(Error("text fields cannot contain NUL")) is ErrorKind.REFUSED


def test_a_cancelled_call_for_one_task_is_explained_with_what_to_set():
    error = explained(raised("57014"))

    assert kind_of(error) is ErrorKind.CANCELLED
    assert "ALTER ROLE ... SET statement_timeout" in str(error)
    assert "(PostgreSQL: as asked" in str(error)


def test_tokens_are_new_and_above_those_that_a_sequence_gave():
    tokens = {new_token() for _ in range(1000)}

    assert len(tokens) == 1000
    assert all(2**62 <= token < 2**63 for token in tokens)
