"""A Django project under load, for the tests that watch real managers."""
