"""The output of ``partisan_status``: a report, as text for people, as JSON, and for Prometheus."""
