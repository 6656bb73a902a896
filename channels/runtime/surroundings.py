"""Context that Django keeps for the code that runs now: language, time zone, URLs and their prefix.

All of it lives in the context, and a worker gives each message a new one.
"""

from __future__ import annotations

import decimal
from contextvars import ContextVar

from django.conf import settings
from django.urls import set_script_prefix, set_urlconf
from django.utils import timezone, translation

from channel_layer.channel import Message
from workers.streams import current_streams

from .cached_settings import cached_until_set

_is_prefixed: ContextVar[bool] = ContextVar("channels_is_prefixed", default=False)
"""True once a prefix was set in this context."""


@cached_until_set("FORCE_SCRIPT_NAME")
def _forced_prefix() -> str | None:
    return settings.FORCE_SCRIPT_NAME


def prefix_urls(message: Message) -> None:
    """Have URLs begin with where the application is mounted, as far as the settings or the message say so."""
    prefix = _forced_prefix() or message.content.get("root_path") or message.headers.get("root_path")
    if prefix and isinstance(prefix, str):
        _set_prefix(prefix)


def prefix_urls_of_request(script_name: str) -> None:
    """The same for a request. A worker's message begins without prefix; to set that again is 2 % of a trivial view."""
    if script_name or _is_prefixed.get() or current_streams.get() is None:
        _set_prefix(script_name)


def _set_prefix(prefix: str) -> None:
    set_script_prefix(prefix.rstrip("/") + "/")
    _is_prefixed.set(True)


def set_defaults() -> None:
    """Have what a new context has."""
    translation.deactivate()
    timezone.deactivate()
    set_urlconf(None)
    set_script_prefix("/")
    decimal.setcontext(decimal.DefaultContext)
