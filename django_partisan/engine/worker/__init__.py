"""The worker process: take tasks, run them, report what came of them."""
