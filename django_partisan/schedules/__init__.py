"""Schedules: what one is, at which moments it ticks, and which of them the settings define."""
