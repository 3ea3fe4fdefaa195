"""The benchmarks of django-partisan, alone or together with other task queues in one run."""
