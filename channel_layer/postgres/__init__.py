"""A channel layer in a PostgreSQL database, for projects that have one and want no other broker."""

try:
    import psycopg  # noqa: F401
except ImportError as error:
    raise ImportError(f"the postgres layer needs psycopg ({error}); pip install 'django-millrace[postgres]'") from error

from .layer import PostgresChannelLayer

__all__ = ["PostgresChannelLayer"]
