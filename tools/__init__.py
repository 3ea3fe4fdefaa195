"""Programs that the demo, tests, benchmarks and documentation use. They are not in the installed package."""
