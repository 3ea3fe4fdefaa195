"""What ``partisan_schedules`` shows: the schedules, as text or as JSON."""
