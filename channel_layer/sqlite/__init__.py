"""A channel layer in a SQLite file: several processes on one machine, no server to install."""

from .layer import SqliteChannelLayer

__all__ = ["SqliteChannelLayer"]
