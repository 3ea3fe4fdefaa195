"""A component that does nothing: what a new one needs is this file and its place in the manager's list."""

from django_partisan.engine.manager.component import Component


class Dummy(Component):
    """Do nothing, at every turn."""
