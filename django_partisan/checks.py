"""System checks: wrong settings are told by ``manage.py check``, each with an id and a cure."""
