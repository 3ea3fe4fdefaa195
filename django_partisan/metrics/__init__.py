"""Metrics: counted in the workers, summed in the manager, served to Prometheus."""
