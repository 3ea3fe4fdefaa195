"""Count metrics in workers, sum them in the manager, and serve them to Prometheus."""
