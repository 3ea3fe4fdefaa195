"""The application whose one task the benchmarks run."""
