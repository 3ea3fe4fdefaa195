"""The demo's Django settings. What django-partisan needs is marked; the rest is for the admin."""

import os
from pathlib import Path

from tools import database_url

SECRET_KEY = os.environ.get("DEMO_SECRET_KEY", "not a secret: for the demo on loopback only")
DEBUG = False
ALLOWED_HOSTS = ["127.0.0.1", "localhost"]
USE_TZ = True
TIME_ZONE = "UTC"
ROOT_URLCONF = "demo.urls"
STATIC_URL = "static/"

# django-partisan: PostgreSQL, the application, and, if you like, a few settings for each queue.
# Workers keep a connection from task to task as long as CONN_MAX_AGE says.
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

# The admin shows what tasks were called with; keys that look like secrets are blotted out.
PARTISAN_OBSERVABILITY = {"LOG_TASK_ARGS": True}

# The demo's own: where the report goes, and the HTTP server that fails now and then.
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
