"""Django settings of the demo. Settings for django-partisan are marked; the others are for the admin."""

import os
from pathlib import Path

from tools import database_url

SECRET_KEY = os.environ.get("DEMO_SECRET_KEY", "not a secret: only for the demo on loopback")
DEBUG = False
ALLOWED_HOSTS = ["127.0.0.1", "localhost"]
USE_TZ = True
TIME_ZONE = "UTC"
ROOT_URLCONF = "demo.urls"
STATIC_URL = "static/"

# django-partisan: PostgreSQL, the application and, optionally, settings for each queue.
# Workers keep connections between tasks for CONN_MAX_AGE.
DATABASES = {"default": {**database_url.from_environment(os.environ), "CONN_MAX_AGE": 60}}

INSTALLED_APPS = [
    "django.contrib.admin",
    "django.contrib.auth",
    "django.contrib.contenttypes",
    "django.contrib.humanize",
    "django.contrib.messages",
    "django.contrib.sessions",
    "django.contrib.staticfiles",
    "django_partisan",
    "demo",
]

PARTISAN_CONFIG = {
    "default": {
        "MAX_QUEUE_SIZE": 20,
        "DEFAULT_POSTPONE_DELAY_SECONDS": 1,
    },
}

# The admin shows the arguments of tasks; values of keys that look like secrets are hidden.
PARTISAN_OBSERVABILITY = {"LOG_TASK_ARGS": True}

# The demo's own settings: the folder of the report, and the HTTP server that sometimes fails.
DEMO_OUTPUT = Path(os.environ.get("DEMO_OUTPUT", "demo-output")).absolute()
DEMO_CATALOGUE = os.environ.get("DEMO_CATALOGUE", "127.0.0.1:8001")

MIDDLEWARE = [
    "django.middleware.security.SecurityMiddleware",
    "django.contrib.sessions.middleware.SessionMiddleware",
    "django.middleware.common.CommonMiddleware",
    "django.middleware.csrf.CsrfViewMiddleware",
    "django.contrib.auth.middleware.AuthenticationMiddleware",
    "django.contrib.messages.middleware.MessageMiddleware",
]

TEMPLATES = [
    {
        "BACKEND": "django.template.backends.django.DjangoTemplates",
        "APP_DIRS": True,
        "OPTIONS": {
            "context_processors": [
                "django.template.context_processors.request",
                "django.contrib.auth.context_processors.auth",
                "django.contrib.messages.context_processors.messages",
            ],
        },
    },
]
