"""Django's work around the life of a worker and around each consumer."""

from __future__ import annotations

import sys
from collections.abc import Callable
from typing import Any

from django.db import connections
from django.http import HttpRequest

from channel_layer.channel import Message
from channel_layer.messages import HTTP_DISCONNECT, HTTP_REQUEST
from workers.hooks import AfterEvent, Hook

from .. import signals
from ..db import close_old_connections, suspect_connections
from .django_internals import has_only_receiver
from .request_ends import RequestEnds
from .surroundings import prefix_urls

on_answer: list[Callable[[HttpRequest], None]] = []
"""Called with each request that a view has answered, in the context of its message."""

on_background: list[Callable[[str], Callable[[], AfterEvent]]] = []
"""Called with the channel in the task of a background consumer; returns what is called before each message."""


def project_hooks(django: DjangoHook | None = None) -> list[Hook]:
    """The hooks of a worker that runs a Django project: Django's, and Sentry's if the project has initialised it."""
    django = DjangoHook() if django is None else django
    if "sentry_sdk" in sys.modules:
        from . import sentry

        if sentry.is_used():
            on_answer[:], on_background[:] = [sentry.note_request], [sentry.Background]
            return [sentry.SentryHook(), django]
    return [django]


class DjangoHook(Hook):
    """Sends the signals of `channels.signals`, which also look after the database connections."""

    _ends: RequestEnds | None = None

    def worker_process_ready(self, worker: Any) -> None:
        """The project is loaded."""
        if worker.router.is_chosen(HTTP_DISCONNECT):
            self._ends = RequestEnds()
        signals.worker_process_ready.send(sender=worker)

    def worker_ready(self, worker: object) -> None:
        """Messages are taken from now on."""
        signals.worker_ready.send(sender=worker)

    def before(self, message: Message) -> None:
        """A consumer is about to run."""
        prefix_urls(message)
        if self._ends is not None and message.channel.name == HTTP_REQUEST:
            self._ends.ask(message)
        if has_only_receiver(signals.consumer_started, signals.LOOK_AFTER):
            close_old_connections()
        else:
            signals.consumer_started.send(sender=DjangoHook, message=message, environ={})

    def after(self, message: Message, error: BaseException | None) -> None:
        """A consumer has ended."""
        if error is not None:
            suspect_connections()
        if has_only_receiver(signals.consumer_finished, signals.LOOK_AFTER):
            close_old_connections()
        else:
            signals.consumer_finished.send(sender=DjangoHook, message=message)

    def thread_ended(self) -> None:
        """A thread of the worker ends, and its database connections with it: ``CONN_MAX_AGE`` may have kept them."""
        connections.close_all()

    def after_blocks(self) -> bool:
        """See `Hook.after_blocks`: not if nobody but this package listens to the signal.

        An event loop has no connections to look after; those of its consumers' threads have `SyncThreads`.
        """
        return type(self).after is not DjangoHook.after or not has_only_receiver(
            signals.consumer_finished, signals.LOOK_AFTER
        )
