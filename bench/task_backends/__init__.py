"""Backends of Django's task framework, side by side: ours, django-ox and django-tasks-db."""
