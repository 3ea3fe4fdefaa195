"""Read Django's database settings from DATABASE_URL or from the variables of libpq."""

from collections.abc import Mapping
from typing import Any
from urllib.parse import parse_qsl, unquote, urlsplit

ENGINE = "django.db.backends.postgresql"
DEFAULT_NAME = "postgres"

# The variables of libpq that locate a server. PGUSER, PGDATABASE and similar ones are often set in a shell's
# profile without choosing a server, so they do not count.
LIBPQ_PLACES = ("PGHOST", "PGHOSTADDR", "PGPORT", "PGSERVICE")

_FIELD_OF_OPTION = {"host": "HOST", "port": "PORT", "user": "USER", "password": "PASSWORD", "dbname": "NAME"}


def names_a_server(environ: Mapping[str, str]) -> bool:
    """Return whether the environment chooses a database server."""
    return any(environ.get(name) for name in ("DATABASE_URL", *LIBPQ_PLACES))


def from_environment(environ: Mapping[str, str]) -> dict[str, Any]:
    """Return the settings of the database that the environment chooses.

    Without DATABASE_URL, host, port, user and password stay blank: libpq reads its variables when it
    connects, so they can be set after the settings are read.
    """
    if url := environ.get("DATABASE_URL"):
        return parse(url)
    settings: dict[str, Any] = {"ENGINE": ENGINE, "NAME": environ.get("PGDATABASE", DEFAULT_NAME)}
    if service := environ.get("PGSERVICE"):
        settings["OPTIONS"] = {"service": service}
    return settings


def parse(url: str) -> dict[str, Any]:
    """Return the settings of `postgresql://user:password@host:port/name?option=value`.

    As in libpq, `host` in the query can be the folder of a unix socket. Options without a field in Django's
    settings are put into OPTIONS.
    """
    parts = urlsplit(url)
    if parts.scheme not in ("postgresql", "postgres"):
        # The URL may contain a password, so name only the scheme.
        raise ValueError(f"DATABASE_URL starts with {parts.scheme!r}, but only 'postgresql' is supported")
    settings: dict[str, Any] = {
        "ENGINE": ENGINE,
        "NAME": unquote(parts.path.removeprefix("/")),
        "USER": unquote(parts.username or ""),
        "PASSWORD": unquote(parts.password or ""),
        "HOST": unquote(parts.hostname or ""),
        "PORT": str(parts.port or ""),
    }
    options = dict(parse_qsl(parts.query))
    for option, field in _FIELD_OF_OPTION.items():
        if option in options:
            settings[field] = options.pop(option)
    settings["NAME"] = settings["NAME"] or settings["USER"] or DEFAULT_NAME
    return settings | ({"OPTIONS": options} if options else {})
