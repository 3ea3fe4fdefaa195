"""Inject each fault that an operator may meet, and check which alerts fire.

A row of the table (``rows``) is a fault and the alerts that it must raise. Each row runs at its own site: a
PostgreSQL, managers under load, and a Prometheus job. All rows share a Prometheus with the shipped rules,
with shortened windows, and an Alertmanager with the shipped inhibition (``control_room``).
"""
