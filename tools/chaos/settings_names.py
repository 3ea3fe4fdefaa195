"""Names of the variables that pass a trial's settings to its processes."""

MODULE = "tools.chaos.settings"
CHOSEN = "CHAOS_SETTINGS"
