"""``manage.py runserver``."""

from __future__ import annotations

from channels.management.commands.runserver import Command

__all__ = ["Command"]
