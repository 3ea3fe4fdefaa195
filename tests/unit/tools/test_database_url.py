"""A database URL becomes Django settings."""

import pytest

from tools import database_url


@pytest.mark.parametrize(
    ("url", "expected"),
    [
        (
            "postgresql://ann:s%40fe@db.example:6432/shop",
            {"USER": "ann", "PASSWORD": "s@fe", "HOST": "db.example", "PORT": "6432", "NAME": "shop"},
        ),
        ("postgres://ann@db/", {"USER": "ann", "HOST": "db", "PORT": "", "NAME": "ann"}),
        ("postgresql://", {"USER": "", "HOST": "", "NAME": "postgres"}),
        ("postgresql://[::1]:5433/shop", {"HOST": "::1", "PORT": "5433"}),
        (
            "postgresql://ann@/shop?host=/run/pg&port=5433&sslmode=require",
            {"HOST": "/run/pg", "PORT": "5433", "OPTIONS": {"sslmode": "require"}},
        ),
    ],
)
def test_a_url_is_taken_apart(url: str, expected: dict[str, object]):
    assert database_url.parse(url).items() >= expected.items()


def test_another_database_is_refused_without_telling_the_password():
    with pytest.raises(ValueError, match="'mysql'") as caught:
        database_url.parse("mysql://ann:secret@db/shop")
    assert "secret" not in str(caught.value)


def test_libpq_keeps_its_own_variables_and_a_service_is_passed_on():
    environ = {"PGHOST": "db", "PGDATABASE": "shop"}
    assert database_url.from_environment(environ) == {"ENGINE": database_url.ENGINE, "NAME": "shop"}
    assert database_url.from_environment({"PGSERVICE": "shop"})["OPTIONS"] == {"service": "shop"}


@pytest.mark.parametrize(
    ("environ", "expected"),
    [
        ({}, False),
        ({"PGUSER": "ann", "PGDATABASE": "shop"}, False),
        ({"PGHOST": ""}, False),
        ({"PGHOST": "db"}, True),
        ({"PGSERVICE": "shop"}, True),
        ({"DATABASE_URL": "postgresql://db/shop"}, True),
    ],
)
def test_an_environment_names_a_server_by_its_place_only(environ: dict[str, str], expected: bool):
    assert database_url.names_a_server(environ) is expected
