"""Answers for the threads of a WSGI server: one reader for each process."""

from __future__ import annotations

import asyncio
import logging
import os
import random
import secrets
import threading
import time
from collections import deque
from collections.abc import Iterable
from typing import Any

from channel_layer.delivery import Delivery
from channel_layer.exceptions import LayerUnavailable

logger = logging.getLogger("interface_server.wsgi")

BATCH = 256
WAIT_SECONDS = 2.0
FIRST_PAUSE, LAST_PAUSE = 0.05, 1.0
"""Seconds between attempts to reach a layer that is away."""


BROKEN_OFF = {"content": b"", "more_content": True, "closed": True}
"""What stands in a mailbox for the news that the consumer has failed."""


class Mailbox:
    """What has come for one request. One thread takes, the reader puts.

    Args:
        channel: the full name of the reply channel.
        limit: bytes of content to hold; what is beyond it is not kept and sets `overflown`.
    """

    def __init__(self, channel: str, limit: int) -> None:
        self.channel = channel
        self.overflown = False
        self._limit = limit
        self._size = 0
        self._messages: deque[dict[str, Any]] = deque()
        self._arrived = threading.Condition()

    def put(self, message: dict[str, Any]) -> None:
        """Add a message; an empty one says nothing to a request."""
        if not message:
            return
        with self._arrived:
            self._size += _size(message)
            if self._size > self._limit and self._messages:
                self.overflown = True
            else:
                self._messages.append(message)
            self._arrived.notify()

    def take(self, timeout: float) -> dict[str, Any] | None:
        """The next message; ``None`` if none comes in time, or some were not kept."""
        deadline = time.monotonic() + timeout
        with self._arrived:
            while not self._messages and not self.overflown:
                remaining = deadline - time.monotonic()
                if remaining <= 0:
                    return None
                self._arrived.wait(remaining)
            if self.overflown:
                return None
            message = self._messages.popleft()
            self._size -= _size(message)
            return message

    def __bool__(self) -> bool:
        return bool(self._messages)


class Reader:
    """A thread that receives on this process's reply name and hands messages to mailboxes.

    It starts with the first request and lives as long as the process. It belongs to the process that
    made it; `belongs_here` says whether that is this one.

    Args:
        layer: any channel layer.
    """

    def __init__(self, layer: Any) -> None:
        self.name = f"wsgi.{secrets.token_urlsafe(12)}!"
        self._layer = layer
        self._pid = os.getpid()
        self._mailboxes: dict[str, Mailbox] = {}
        self._gone: set[str] = set()
        self._lock = threading.Lock()
        self._closed = False
        self._thread = threading.Thread(target=self._run, name="wsgi replies", daemon=True)
        self._thread.start()

    @property
    def belongs_here(self) -> bool:
        """Whether this process made it; a thread does not survive a fork."""
        return self._pid == os.getpid()

    def open(self, limit: int) -> Mailbox:
        """A mailbox with a new, unguessable reply channel."""
        mailbox = Mailbox(self.name + secrets.token_urlsafe(12), limit)
        self._mailboxes[mailbox.channel] = mailbox
        return mailbox

    def shut(self, mailbox: Mailbox) -> None:
        """Forget a mailbox, and have its channel taken out of every group soon."""
        if self._mailboxes.pop(mailbox.channel, None) is not None:
            with self._lock:
                self._gone.add(mailbox.channel)

    def close(self) -> None:
        """End the thread."""
        self._closed = True
        self._layer.interrupt()
        self._thread.join(WAIT_SECONDS + 1)

    def _run(self) -> None:
        pause = 0.0
        with asyncio.Runner() as runner:
            while not self._closed:
                try:
                    self._dispatch(self._layer.receive_many([self.name], BATCH, WAIT_SECONDS))
                    self._forget_gone(runner)
                except Exception as error:
                    self._report(error, first=not pause)
                    pause = min(LAST_PAUSE, pause * 2 or FIRST_PAUSE)
                    time.sleep(pause * random.uniform(0.5, 1.0))
                    continue
                if pause:
                    logger.warning("the channel layer answers again")
                    pause = 0.0
            runner.run(self._layer.aclose())

    def _dispatch(self, deliveries: Iterable[Delivery]) -> None:
        for delivery in deliveries:
            failed = bool(delivery.headers and delivery.headers.get("failed"))
            message = BROKEN_OFF if failed else delivery.message
            locals_ = delivery.members if delivery.members is not None else ("",)
            for local in locals_:
                self._hand_over(delivery.channel + local, message)

    def _hand_over(self, channel: str, message: dict[str, Any]) -> None:
        mailbox = self._mailboxes.get(channel)
        if mailbox is not None:
            mailbox.put(message)
        else:  # an answer that comes too late, or a member of a group that left without saying so
            with self._lock:
                self._gone.add(channel)

    def _forget_gone(self, runner: asyncio.Runner) -> None:
        if not self._gone:
            return
        with self._lock:
            gone, self._gone = self._gone, set()
        members = {self.name + local for _, local, _ in self._layer.index.memberships(self.name)}
        if gone & members:
            # Only the async side of a layer knows this operation. Its loop is this thread's alone.
            runner.run(self._layer.aforget(gone & members))

    def _report(self, error: Exception, first: bool) -> None:
        if not isinstance(error, LayerUnavailable):
            logger.error("receiving failed", exc_info=error)
        elif first:
            logger.warning("%s; trying again until it answers", error)


def _size(message: dict[str, Any]) -> int:
    content = message.get("content")
    return len(content) if isinstance(content, bytes) else 0
