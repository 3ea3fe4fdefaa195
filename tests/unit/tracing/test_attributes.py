"""The database's address in attributes, and texts that a collector accepts."""

import pytest

from django_partisan.tracing.attributes import MESSAGE_MAX, STACK_TRACE_MAX, message, server_of, stack_trace

from .conftest import Recording
from .driving import attributes, enqueue


@pytest.mark.parametrize(
    ("database", "environ", "expected"),
    [
        ({"HOST": "db.example", "PORT": "6432"}, {}, {"server.address": "db.example", "server.port": 6432}),
        ({"HOST": "db.example", "PORT": ""}, {}, {"server.address": "db.example", "server.port": 5432}),
        ({"HOST": "/run/pg", "PORT": 5433}, {}, {"server.address": "/run/pg", "server.port": 5433}),
        ({"HOST": "a"}, {"PGHOST": "b", "PGPORT": "1"}, {"server.address": "a", "server.port": 1}),
        ({"HOST": ""}, {"PGHOST": "b", "PGPORT": "6000"}, {"server.address": "b", "server.port": 6000}),
        ({}, {"PGHOSTADDR": "127.0.0.1"}, {"server.address": "127.0.0.1", "server.port": 5432}),
        (
            {"OPTIONS": {"host": "c", "port": "7000"}},
            {"PGHOST": "b"},
            {"server.address": "c", "server.port": 7000},
        ),
        ({"HOST": "", "OPTIONS": None}, {}, {"server.port": 5432}),
        ({"OPTIONS": {"service": "shop"}}, {}, {}),
        ({"HOST": "a,b", "PORT": "5432,5433"}, {}, {"server.address": "a,b"}),
    ],
)
def test_database_is_told_by_settings_and_then_libpqs_variables(database, environ, expected):
    assert server_of(database, environ) == expected


def test_neither_user_nor_password_is_told(recording: Recording, monkeypatch: pytest.MonkeyPatch):
    from django.db import connections

    named = {"HOST": "db.example", "PORT": "1", "USER": "shopkeeper", "PASSWORD": "hunter2"}
    monkeypatch.setitem(connections.databases["default"], "USER", named["USER"])
    for key, value in named.items():
        monkeypatch.setitem(connections.databases["default"], key, value)

    enqueue()

    found = attributes(recording.span("send"))
    assert found["server.address"] == "db.example"
    assert found["server.port"] == 1
    assert not {"shopkeeper", "hunter2"} & set(map(str, found.values()))


def test_long_message_is_cut_at_its_end():
    assert message("x" * 5000 + "end") == "x" * MESSAGE_MAX


def test_long_stack_trace_keeps_both_ends():
    told = stack_trace("first" + "x" * 100_000 + "last")

    assert len(told) <= STACK_TRACE_MAX
    assert told.startswith("firstx")
    assert told.endswith("xlast")
    assert "[...]" in told


@pytest.mark.parametrize("cleaned", [message, stack_trace])
def test_text_that_no_collector_could_take_is_made_one_that_it_can(cleaned):
    assert cleaned("caf\u00e9 \ud800") == "caf\u00e9 ?"
