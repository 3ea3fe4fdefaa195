"""The task engine: a manager process that claims and settles tasks, and worker processes that run them."""
