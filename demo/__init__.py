"""A demo with real work: every Python file of the standard library becomes a task.

Read `partisan_tasks.py` first: it is what you would write in a project. `settings.py` shows how little you
have to configure. `batch.py` implements `python -m demo`, and `serve.py` implements `python -m demo --serve`.
"""
