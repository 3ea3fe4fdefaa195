"""What the dashboards show; ``grafana.build`` turns it into Grafana's JSON. Needs Python 3.11."""
