"""Background tasks for Django on PostgreSQL that an operator can see into."""

__version__ = "2.0.0.dev0"
