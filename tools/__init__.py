"""What the demo, the tests and the benchmarks run on; no part of the installed package."""
