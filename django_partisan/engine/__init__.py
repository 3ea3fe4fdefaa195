"""The engine: a manager process that claims and settles, and worker processes that run."""
