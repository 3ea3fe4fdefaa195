"""Every SQL statement of the hot path, one module for each thing a caller wants done."""
