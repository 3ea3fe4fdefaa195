"""Set up telemetry, connecting subscribers to the core; there is one module per kind of process.

Each module imports only what its own processes need.
"""
