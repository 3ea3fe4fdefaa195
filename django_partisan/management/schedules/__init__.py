"""The output of ``partisan_schedules``: the schedules, as text or as JSON."""
