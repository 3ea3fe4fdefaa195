"""Install the probes of a profile when Django is ready, in every process that loads it."""

from django.apps import AppConfig

from bench import probes


class BenchConfig(AppConfig):
    name = "bench.app"
    label = "bench"

    def ready(self) -> None:
        probes.install_from_environment()
