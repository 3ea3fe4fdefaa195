"""The app configuration of django-partisan."""

from django.apps import AppConfig
from django.utils.translation import gettext_lazy as _

from django_partisan import registry


class PartisanConfig(AppConfig):
    name = "django_partisan"
    verbose_name = _("Partisan")
    default_auto_field = "django.db.models.BigAutoField"

    def ready(self) -> None:
        from django_partisan import checks  # noqa: F401 - importing it registers the checks
        from django_partisan.telemetry.setup.application import set_up_application

        set_up_application()
        registry.autodiscover()
