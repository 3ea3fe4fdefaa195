"""Compare backends of Django's task framework: django-partisan's, django-ox and django-tasks-db."""
