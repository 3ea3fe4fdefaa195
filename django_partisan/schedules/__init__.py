"""Define and validate schedules, read them from the settings, and compute their ticks."""
