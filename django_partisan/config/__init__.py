"""Values a processor class is configured with."""
