"""Run functions of Django's task framework (``django.tasks``) as tasks in our tables and workers."""
