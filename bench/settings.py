"""Django's settings for the benchmarks, by the environment variables of the variant."""

import os
import sys
from typing import Any

from bench.variant import Variant

variant = Variant.from_environment(os.environ)
if variant.driver == "psycopg2":
    # Django prefers psycopg 3 if it is installed. A module that is None cannot be imported.
    sys.modules["psycopg"] = None  # type: ignore[assignment]

SECRET_KEY = "bench"
DEBUG = False
USE_TZ = True
TIME_ZONE = "UTC"
DEFAULT_AUTO_FIELD = "django.db.models.BigAutoField"
INSTALLED_APPS = ["django_partisan", "bench.app"]

# The runner sets host, port, user and password in the variables of libpq.
DATABASES = {
    "default": {"ENGINE": "django.db.backends.postgresql", "NAME": os.environ.get("PGDATABASE", "postgres")}
}

PARTISAN_BENCH_UNIQUE = variant.unique
PARTISAN_CONFIG: dict[str, dict[str, Any]] = {"default": variant.queue_settings()}

LOGGING: dict[str, Any] = {
    "version": 1,
    "disable_existing_loggers": False,
    "handlers": {"stderr": {"class": "logging.StreamHandler"}},
    "root": {"handlers": ["stderr"], "level": "WARNING"},
    # In the variant with everything on, the command sets a log file and the level INFO.
    "loggers": {} if variant.full else {"django_partisan": {"level": "WARNING"}},
}
