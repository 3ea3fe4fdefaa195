"""The application, which receives the library's signals wherever it runs."""

from django.apps import AppConfig


class WatchedConfig(AppConfig):
    name = "tests.processes.observability.watched"

    def ready(self) -> None:
        from tests.processes.observability.watched import receivers

        receivers.connect()
