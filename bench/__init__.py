"""The benchmarks: our own figures, and the same figures beside other task queues in one run."""
