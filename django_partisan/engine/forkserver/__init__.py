"""The fork server: start worker processes that have already loaded Django and the tasks."""
