"""Times, said shortly."""

from __future__ import annotations

from datetime import datetime

from django import template
from django.utils.timesince import timesince

register = template.Library()


@register.filter
def ago(moment: datetime) -> str:
    """How long ago something was, in its largest unit: "5 hours ago"."""
    return f"{timesince(moment, depth=1)} ago"
