"""A row can be loaded whatever JSON it contains."""

import pytest

from django_partisan.models.json_column import JSONColumn

DEEP = 100_000


@pytest.mark.parametrize("text", ["[" * DEEP + "]" * DEEP, f"[{'9' * 5000}]", "no JSON"])
def test_what_python_cannot_read_is_loaded_as_its_text(text: str):
    assert JSONColumn().from_db_value(text, None, None) == text


@pytest.mark.parametrize(("text", "value"), [('{"a": [1]}', {"a": [1]}), ("null", None), (None, None)])
def test_what_python_can_read_is_loaded_as_its_value(text: str | None, value: object):
    assert JSONColumn().from_db_value(text, None, None) == value


def test_migrations_know_it_as_a_json_field():
    assert JSONColumn(null=True).deconstruct() == (None, "django.db.models.JSONField", [], {"null": True})
