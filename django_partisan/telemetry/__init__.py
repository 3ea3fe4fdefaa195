"""Events of a task's life, the bus that carries them, and what subscribers share."""
