"""Messages as transactions of Sentry; imported only if the project uses ``sentry_sdk``.

Each message, each event of a hosted application, has an isolation scope of its own: errors that are reported while it
is dealt with carry its channel, its route and its user, and none of another's. Scopes are kept in the context, which
each message and each task has for itself.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from contextlib import AbstractContextManager, contextmanager
from contextvars import ContextVar
from typing import TYPE_CHECKING, Any

import sentry_sdk
from django.contrib.auth.base_user import AbstractBaseUser
from django.http import HttpRequest
from django.utils.functional import LazyObject, empty
from sentry_sdk.scope import Scope

from channel_layer.channel import Message
from channel_layer.messages import CONNECT, HTTP_REQUEST
from routing.routes import Consumer
from workers.exceptions import ConsumerSignal
from workers.facts import name_of
from workers.hooks import AfterEvent, Hook

if TYPE_CHECKING:
    from workers.instances import Hosted

ORIGIN = "auto.queue.millrace"
BEGINNINGS = (HTTP_REQUEST, CONNECT)
"""Channels of messages with the headers of a client, which may belong to a trace of the page."""


def is_used() -> bool:
    """True if the project has initialised Sentry, with an address to send to."""
    client = sentry_sdk.get_client()
    return client.is_active() and client.transport is not None


class _Unit:
    """One message, or one event, while it is dealt with.

    Args:
        channel: its channel, or the type of the event.
        route: dotted path of the consumer, if it is known yet.
        user: gives its user, if it has one by then.
        scope: an isolation scope to use again, in which nothing is left at the end; a new one if left out.
    """

    def __init__(self, channel: str, route: str, user: Callable[[], object], scope: Scope | None = None) -> None:
        self._channel = channel
        self._user = user
        self._transaction: Any = None
        self._isolation: AbstractContextManager[Scope] = (
            sentry_sdk.isolation_scope() if scope is None else _cleared(scope)
        )
        self.scope = self._isolation.__enter__()
        self.scope.clear_breadcrumbs()
        self.scope.set_tag("channel", channel)
        if route:
            self.scope.set_tag("route", route)
        self.scope.add_event_processor(self._add_user)

    def begin(self, route: str, path: object, headers: Mapping[str, str]) -> None:
        """Begin the transaction."""
        kind = self._channel.partition(".")[0]
        name = self._channel if route == self._channel else f"{self._channel} {route}"
        self.scope.set_tag("route", route)
        transaction = sentry_sdk.continue_trace(
            dict(headers),
            op={"http": "http.server", "websocket": "websocket.server"}.get(kind, "queue.process"),
            name=name,
            source="component",
            origin=ORIGIN,
        )
        self._transaction = sentry_sdk.start_transaction(transaction)
        self._transaction.set_data("messaging.destination.name", self._channel)
        if isinstance(path, str):
            self._transaction.set_data("url.path", path)
        self._transaction.__enter__()

    def end(self, error: BaseException | None) -> None:
        """Send the transaction, and leave the scope."""
        if isinstance(error, ConsumerSignal):
            error = None
        if self._transaction is not None:
            if error is not None:
                self._transaction.set_status("internal_error")
            elif self._transaction.status is None:
                self._transaction.set_status("ok")
            self._transaction.__exit__(None, None, None)
        self._isolation.__exit__(None, None, None)

    def note(self, request: HttpRequest) -> None:
        """A view has answered this request."""
        user = getattr(request, "_cached_user", None) or getattr(request, "user", None)
        self._user = lambda: user

    def _add_user(self, event: Any, hint: Any) -> Any:
        if _may_name_users() and not (event.get("user") or {}).get("id"):
            event["user"] = {**(event.get("user") or {}), **_described(self._user())}
        return event


_current: ContextVar[_Unit | None] = ContextVar("channels_sentry", default=None)


class SentryHook(Hook):
    """Makes a transaction of each message that has a consumer and of each event of a hosted application."""

    def before(self, message: Message) -> None:
        """See `Hook.before`."""
        _current.set(_Unit(message.channel.name, "", lambda: getattr(message, "user", None)))

    def matched(self, message: Message, consumer: Consumer) -> None:
        """See `Hook.matched`."""
        unit = _current.get()
        # One that only hands a message over to an application: that begins a transaction for the event.
        if unit is not None and not getattr(getattr(consumer, "__self__", consumer), "hands_over", False):
            headers = message.content.get("headers") if message.channel.name in BEGINNINGS else ()
            unit.begin(name_of(consumer), message.content.get("path"), _decoded(headers))

    def after(self, message: Message, error: BaseException | None) -> None:
        """See `Hook.after`."""
        unit = _current.get()
        if unit is not None:
            _current.set(None)
            unit.end(error)

    def after_blocks(self) -> bool:
        """See `Hook.after_blocks`: events are sent by a thread of Sentry's own."""
        return False

    def before_event(self, hosted: Hosted, kind: str) -> AfterEvent:
        """See `Hook.before_event`."""
        scope: Mapping[str, Any] = getattr(hosted, "scope", {})
        route = getattr(hosted, "route", hosted.name)
        unit = _Unit(kind, route, lambda: getattr(hosted, "scope", {}).get("user"))
        unit.begin(route, scope.get("path"), _decoded(scope.get("headers")) if kind in BEGINNINGS else {})
        return unit.end


@contextmanager
def _cleared(scope: Scope) -> Iterator[Scope]:
    try:
        yield scope
    finally:
        scope.clear()


class Background:
    """The scope of a background consumer, made in the task that runs it; a call begins the transaction of a message.

    Its handlers run in other tasks than those that wait for messages, so all of them have this one scope.
    """

    def __init__(self, channel: str) -> None:
        self._channel = channel
        self._isolation: AbstractContextManager[Scope] = sentry_sdk.isolation_scope()  # left when it is let go
        self._scope = self._isolation.__enter__()

    def __call__(self) -> AfterEvent:
        """Begin; returns what ends it."""
        unit = _Unit(self._channel, self._channel, lambda: None, self._scope)
        unit.begin(self._channel, None, {})
        return unit.end


def note_request(request: HttpRequest) -> None:
    """Remember the user of a request, once a view has answered it."""
    unit = _current.get()
    if unit is not None:
        unit.note(request)


def _may_name_users() -> bool:
    """True if the project wants it sent who somebody is: ``data_collection``, or ``send_default_pii`` before that."""
    client = sentry_sdk.get_client()
    collection = client.options.get("data_collection") or {}
    if collection.get("provided_by_user"):
        return bool(collection.get("user_info"))
    return client.should_send_default_pii()


def _decoded(headers: Any) -> dict[str, str]:
    """Headers of a message or scope, as Sentry reads them."""
    return {
        name.decode("latin-1"): value.decode("latin-1")
        for name, value in headers or ()
        if isinstance(name, bytes) and isinstance(value, bytes)
    }


def _described(user: object) -> dict[str, str]:
    """The user as Sentry shows it; empty if nobody is logged in, or nobody has looked yet: that may need a query."""
    if isinstance(user, LazyObject):
        user = user.__dict__.get("_wrapped", empty)
    if not isinstance(user, AbstractBaseUser) or not user.is_authenticated:
        return {}
    found = {"id": str(user.pk), "username": user.get_username()}
    email = getattr(user, "email", "")
    return {**found, "email": email} if email else found
