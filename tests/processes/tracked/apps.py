"""The host application, which sets up Sentry as its documentation describes."""

import os

import sentry_sdk
from django.apps import AppConfig

SENTRY_DSN = "TRACKED_SENTRY_DSN"


class TrackedConfig(AppConfig):
    name = "tests.processes.tracked"

    def ready(self) -> None:
        sentry_sdk.init(dsn=os.environ[SENTRY_DSN], release="shop@1")
