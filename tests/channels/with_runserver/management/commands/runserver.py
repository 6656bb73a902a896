"""A project's own ``runserver``."""

from __future__ import annotations

from django.core.management.base import BaseCommand


class Command(BaseCommand):
    """The command."""
