"""A statement to prepare is an ordinary text elsewhere, and keeps its parts when it is changed."""

import pytest

from django_partisan.sql.preparable import ROWS_AT_MOST, Preparable
from django_partisan.sql.schema import qualified

STATEMENT = Preparable(
    "find", "SELECT id FROM django_partisan_task WHERE id %% %s = %s", "SET LOCAL lock_timeout = 5; "
)


def name_in(preparation: str) -> str:
    return preparation.split()[1]


def test_its_text_is_that_of_an_ordinary_statement():
    assert STATEMENT == "SET LOCAL lock_timeout = 5; SELECT id FROM django_partisan_task WHERE id %% %s = %s"


def test_it_is_prepared_without_its_settings_and_executed_with_them_and_its_parameters():
    name = name_in(STATEMENT.preparation)

    assert name.startswith("partisan_find_")
    assert STATEMENT.preparation == (
        f"PREPARE {name} AS SELECT id FROM django_partisan_task WHERE id % $1 = $2"
    )
    assert STATEMENT.execution.startswith("SET LOCAL lock_timeout = 5; SET LOCAL plan_cache_mode")
    assert STATEMENT.execution.endswith(f"; EXECUTE {name} (%s, %s)")


def test_another_text_has_another_name_and_other_settings_have_not():
    limited = STATEMENT.with_settings("SET LOCAL lock_timeout = 6; ")
    changed = STATEMENT.changed(lambda body: body.replace("id FROM", "status FROM"))

    assert limited.preparation == STATEMENT.preparation
    assert limited.startswith("SET LOCAL lock_timeout = 6; SELECT id")
    assert changed.startswith("SET LOCAL lock_timeout = 5; SELECT status")
    assert name_in(changed.preparation) != name_in(STATEMENT.preparation)


@pytest.mark.parametrize(
    ("rows", "kind"), [(1, Preparable), (ROWS_AT_MOST, Preparable), (ROWS_AT_MOST + 1, str)]
)
def test_for_many_rows_it_is_planned_each_time(rows, kind):
    statement = STATEMENT.for_rows(rows)

    assert statement == STATEMENT
    assert type(statement) is kind


def test_the_schema_is_named_in_either_kind():
    """Both have the same text, so a cache could confuse them."""
    as_text, prepared = qualified(str(STATEMENT), "shop", True), qualified(STATEMENT, "shop", True)

    assert as_text == prepared
    assert " FROM shop.django_partisan_task " in as_text
    assert type(as_text) is str
    assert isinstance(prepared, Preparable)
    assert " FROM shop.django_partisan_task " in prepared.preparation
