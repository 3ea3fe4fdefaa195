"""Functions as task code: Django's task framework (``django.tasks``) on our tables and workers."""
