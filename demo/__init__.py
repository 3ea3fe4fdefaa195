"""Real work on real input: every Python file of the standard library becomes a task.

Read `partisan_tasks.py` first: it is what you would write. `settings.py` shows how little a project has to
configure; `batch.py` is what `python -m demo` does, `serve.py` what `python -m demo --serve` does.
"""
