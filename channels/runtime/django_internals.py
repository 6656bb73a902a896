"""Undocumented parts of Django and asgiref that this package uses, in one place.

Classes that derive from Django's, as `channels.http.request.AsgiRequest` and `channels.connection_session`, override
more of it. The tests of this module fail, with the versions in their messages, when a release changes something.
"""

from __future__ import annotations

from collections.abc import Callable, Hashable
from concurrent.futures import Executor

from asgiref.sync import SyncToAsync, ThreadSensitiveContext
from django.contrib.sessions.backends.base import SessionBase
from django.dispatch import Signal
from django.http.response import HttpResponseBase


def receiver_keys(signal: Signal) -> list[Hashable]:
    """List the first part of each receiver's key: its ``dispatch_uid``, or the `id` of the function."""
    return [entry[0][0] for entry in signal.receivers]


def has_only_receiver(signal: Signal, dispatch_uid: str) -> bool:
    """Tell if a signal has one receiver, connected with this ``dispatch_uid``. Cheap: asked around each message."""
    receivers = signal.receivers
    return len(receivers) == 1 and receivers[0][0][0] == dispatch_uid


def close_resources(response: HttpResponseBase) -> None:
    """Call what is to be closed with a response, which counts as closed from then on; ignore errors as Django does."""
    for closer in response._resource_closers:  # type: ignore[attr-defined]
        try:
            closer()
        except Exception:
            pass  # it must not keep the next one from being closed
    response._resource_closers.clear()  # type: ignore[attr-defined]
    response.closed = True


def close_with(response: HttpResponseBase, closer: Callable[[], object]) -> None:
    """Have something closed with a response."""
    response._resource_closers.append(closer)  # type: ignore[attr-defined]


def hand_over_resources(response: HttpResponseBase, replacement: HttpResponseBase) -> None:
    """Have what is to be closed with a response closed with its replacement, too."""
    replacement._resource_closers.extend(response._resource_closers)  # type: ignore[attr-defined]


def give_key(session: SessionBase, key: str | None) -> None:
    """Set the key of a session, whether or not it exists in the store."""
    session._session_key = key


def run_in(executor: Executor, context: ThreadSensitiveContext) -> None:
    """Have `sync_to_async` use an executor in the current context.

    Args:
        executor: runs the functions.
        context: what asgiref looks the executor up by; it is forgotten with this object.
    """
    SyncToAsync.context_to_thread_executor[context] = executor
    SyncToAsync.thread_sensitive_context.set(context)
