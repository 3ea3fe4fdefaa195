"""The budget of a task: countable work, which is the same on any machine, instead of time."""
