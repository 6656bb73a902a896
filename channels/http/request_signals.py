"""``request_started`` and ``request_finished``, without their price while nobody but Django listens.

Sending both takes an eighth of the time that Django needs for a trivial view (docs/performance.md): each of
Django's own receivers looks through all databases or caches of the project. What they do is done here for those that
the thread uses. Any other receiver, and any of Django's that is missing, brings the signals back.
"""

from __future__ import annotations

from collections.abc import Callable, Hashable
from functools import partial

import django.db
from django.core import cache, signals
from django.core.cache.backends.base import BaseCache
from django.core.handlers import base
from django.dispatch import Signal
from django.http import HttpRequest
from django.http.response import HttpResponseBase
from django.urls import set_urlconf
from django.utils.module_loading import import_string

from channel_layer.channel import Message
from workers.streams import current_streams

from .. import db
from ..runtime.django_internals import close_resources, close_with, receiver_keys


def send_started(handler: type, message: Message) -> None:
    """Begin a request: send `request_started`, or do the work of Django's own receivers directly."""
    if _at_start.holds():
        db.reset_queries()
        db.close_old_connections()
    else:
        signals.request_started.send(sender=handler, message=message)


def close(response: HttpResponseBase) -> None:
    """End a request as ``response.close()`` does, but without sending `request_finished` if only Django listens."""
    if not _at_end.holds() or type(response).close is not HttpResponseBase.close or "close" in vars(response):
        response.close()
        return
    close_resources(response)
    db.close_old_connections()
    if _caches.want_closing():
        cache.close_caches()
    if current_streams.get() is None:  # else the context ends with the worker's message; but see `forget_urlconf`
        base.reset_urlconf(sender=None)


def forget_urlconf(request: HttpRequest, response: HttpResponseBase) -> None:
    """Have a URLconf that was chosen for a request end with its response, and not with its context.

    Consumers of the same message, and receivers of signals, have the project's. To ask the request costs nothing;
    to look into the context, at the end of each, took 2 % of the time of a trivial view.
    """
    if hasattr(request, "urlconf"):
        close_with(response, partial(set_urlconf, None))


class _OnlyThese:
    """Tells if certain receivers listen to a signal and no others.

    Their order does not matter: it depends on which of Django's modules a project imports first.
    """

    def __init__(self, signal: Signal, *receivers: Callable[..., None]) -> None:
        self._signal = signal
        self._keys = frozenset(map(id, receivers))
        self._last: list[Hashable] | None = None

    def holds(self) -> bool:
        keys = receiver_keys(self._signal)
        if keys == self._last:
            return True
        if len(keys) != len(self._keys) or self._keys != set(keys):
            return False
        self._last = keys
        return True


_at_start = _OnlyThese(signals.request_started, django.db.reset_queries, django.db.close_old_connections)
_at_end = _OnlyThese(signals.request_finished, django.db.close_old_connections, cache.close_caches, base.reset_urlconf)


class _Caches:
    """Remembers if one of the project's caches does anything when it is closed."""

    def __init__(self) -> None:
        self._configured: object = None
        self._answer = True

    def want_closing(self) -> bool:
        configured = cache.caches.settings
        if configured is not self._configured:
            backends = [import_string(options["BACKEND"]) for options in configured.values()]
            self._answer = any(backend.close is not BaseCache.close for backend in backends)
            self._configured = configured
        return self._answer


_caches = _Caches()
