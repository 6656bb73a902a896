"""``manage.py runworker``."""

from __future__ import annotations

from channels.management.commands.runworker import Command

__all__ = ["Command"]
