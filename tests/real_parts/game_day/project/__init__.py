"""The Django project of a site: its settings, its tasks, and the process that enqueues tasks."""
