"""The worker process: take tasks, run them and report the results."""
