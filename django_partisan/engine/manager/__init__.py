"""The manager process: claim and dispatch tasks, settle their outcomes, and supervise the workers."""
