"""The application that the managers and the enqueuers load."""

from django.apps import AppConfig


class ChaosConfig(AppConfig):
    name = "tools.chaos.app"
    label = "chaos"
    default_auto_field = "django.db.models.BigAutoField"
