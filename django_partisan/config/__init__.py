"""The library's settings, and the values that configure a processor class."""
