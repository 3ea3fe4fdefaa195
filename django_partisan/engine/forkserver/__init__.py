"""The fork server, which starts worker processes that have already loaded Django and the tasks."""
