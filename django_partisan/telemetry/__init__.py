"""Events in the life of a task, the bus that carries them, and code that the subscribers share."""
