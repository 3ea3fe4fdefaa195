"""The processors that the tests enqueue and run."""
