"""How the settings of a trial reach its processes."""

MODULE = "tools.chaos.settings"
CHOSEN = "CHAOS_SETTINGS"
