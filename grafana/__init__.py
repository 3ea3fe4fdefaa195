"""Dashboards, alert rules and their provisioning; ``python -m grafana.build`` writes the dashboards."""
