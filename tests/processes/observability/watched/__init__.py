"""An application whose tasks measure, log, enqueue and misbehave, for tests of their telemetry."""
