"""Set-up of telemetry, which is where subscribers and core meet: one module per kind of process.

Each imports only what its own processes need.
"""
