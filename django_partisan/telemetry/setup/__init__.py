"""Who watches in which kind of process: the subscribers, put together in one place.

One module for each kind, as each imports what only its own processes need.
"""
