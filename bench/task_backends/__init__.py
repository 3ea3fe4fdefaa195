"""Backends of Django's task framework, side by side: ours, django-ox, django-tasks-db; and our processors."""
