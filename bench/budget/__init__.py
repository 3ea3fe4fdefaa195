"""A budget instead of a timed test: what a task costs in work that can be counted, on any machine."""
