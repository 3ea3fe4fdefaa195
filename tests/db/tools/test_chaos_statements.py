"""The chaos proxy recognizes the statements that managers really send."""

from collections.abc import Callable
from uuid import UUID, uuid4

import pytest
from django.db import connection
from django.test.utils import CaptureQueriesContext

from django_partisan.sql import claiming, leasing, rescuing, settling
from django_partisan.sql.row_changes import RowChange
from django_partisan.sql.settling_statements import APPLY, DELETE, FINISH
from django_partisan.sql.tokens import new_token
from tests.support.rows import claim, dead, insert, register_manager
from tools.chaos import wire

pytestmark = pytest.mark.django_db
HOT = (*claiming._CLAIMS.values(), DELETE.few, FINISH.few, APPLY.few)


def statements(act: Callable[[], object]) -> set[str | None]:
    with CaptureQueriesContext(connection) as sent:
        act()
    return {wire.name_of(query["sql"]) for query in sent}


def rescue(manager: UUID) -> list[rescuing.RescuedTask]:
    return rescuing.rescue(connection, "default", manager, new_token(), dead(proven=[uuid4()]))


def test_enqueue_and_register_are_recognised():
    assert statements(insert) == {"enqueue"}
    assert statements(register_manager) == {"register"}


def test_heartbeat_claim_settle_and_rescue_are_recognised():
    manager = register_manager()
    insert()
    change = RowChange(1, 1, "new")

    assert statements(lambda: leasing.heartbeat(connection, "default", manager)) == {"heartbeat"}
    assert statements(lambda: claim(connection, "default", manager, 1)) == {"claim"}
    assert statements(lambda: claim(connection, "default", manager, 1, (10, 1))) == {"claim"}
    assert "settle" in statements(lambda: settling.delete_completed(connection, [(1, 1)]))
    assert "settle" in statements(lambda: settling.finish_completed(connection, [(1, 1, 0, "", None)]))
    assert "settle" in statements(lambda: settling.apply_changes(connection, [change]))
    assert "rescue" in statements(lambda: rescue(manager))


@pytest.mark.parametrize("statement", HOT)
def test_a_prepared_statement_is_recognised_when_it_is_executed(statement):
    name = "claim" if statement.name == "claim" else "settle"

    assert wire.name_of(statement) == wire.name_of(f"SET LOCAL a = 1; {statement.execution}") == name
    assert wire.name_of(f"SET LOCAL a = 1; {statement.preparation}") is None
