"""The SQL statements of the hot path, one module for each purpose."""
