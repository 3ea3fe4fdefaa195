"""Checks of an installation for ``manage.py partisan_doctor``: what is fine, what is not, and the cure."""
