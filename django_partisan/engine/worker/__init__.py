"""The worker process: take tasks, run them, report the outcomes."""
