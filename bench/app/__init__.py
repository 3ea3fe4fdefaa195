"""The application with the task that the benchmarks run."""
