"""Each fault that an operator may meet, injected for real: which alerts tell of it, and which do not.

A row of the table (``rows``) is a fault and the alerts that it must raise. Each has a site of its own: a
PostgreSQL, managers under load, and a Prometheus job. All share a Prometheus with the shipped rules, their
windows shortened, and an Alertmanager with the shipped inhibition (``control_room``).
"""
