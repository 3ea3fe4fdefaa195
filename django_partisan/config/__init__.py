"""Every setting of the library, and the values a processor class is configured with."""
