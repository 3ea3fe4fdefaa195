"""The definitions of the dashboards; ``grafana.build`` writes them as Grafana's JSON. Needs Python 3.11."""
