"""A Django project under load, for tests that observe real managers."""
