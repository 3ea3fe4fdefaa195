"""The checks of ``manage.py partisan_doctor``, each with its findings and their remedies."""
