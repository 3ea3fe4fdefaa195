"""Django's settings for a measured backend: its defaults, and the same quiet logging for all."""

import os
from typing import Any

from bench.task_backends.backends import BACKEND, BACKENDS, PROCESSORS

_name = os.environ.get(BACKEND, "partisan")
_backend = BACKENDS[_name]

SECRET_KEY = "bench"
DEBUG = False
USE_TZ = True
TIME_ZONE = "UTC"
INSTALLED_APPS = [_backend.application, *(["bench.app"] if _name == PROCESSORS else [])]

# The runner sets host, port, user and password in the variables of libpq.
DATABASES = {
    "default": {"ENGINE": "django.db.backends.postgresql", "NAME": os.environ.get("PGDATABASE", "postgres")}
}

TASKS = {"default": {"BACKEND": _backend.path}}
PARTISAN_BENCH_UNIQUE = False  # like functions

LOGGING: dict[str, Any] = {
    "version": 1,
    "disable_existing_loggers": False,
    "handlers": {"stderr": {"class": "logging.StreamHandler"}},
    "root": {"handlers": ["stderr"], "level": "ERROR"},
    "loggers": {
        name: {"handlers": ["stderr"], "level": "ERROR", "propagate": False}
        for name in ("django.tasks", "django_ox", "django_partisan", "django_tasks_db")
    },
}
