"""Sending a long response at the pace of its client."""

from __future__ import annotations

import random
import time
from typing import Any

from channel_layer.exceptions import ChannelFull

MAX_IN_FLIGHT = 2 * 1024 * 1024
"""Bytes sent that the connection has not yet reported as written."""

CHECK_SECONDS = 1.0
"""How often to look whether the client is still there while nothing makes the sender wait."""

STALL_SECONDS = 90.0
"""No progress for so long ends the response: the connection, which has shorter limits, must be gone."""


WAIT_SECONDS = 5.0


class ClientGone(Exception):
    """Nobody reads this response any more."""


class PacedSender:
    """Sends the messages of one response, each before `send` returns.

    With a flow channel it never has more than `MAX_IN_FLIGHT` bytes under way and learns when the
    client leaves; without one (an older or foreign sender of the request) it relies on the channel's
    capacity alone.

    Args:
        message: the request's message.
    """

    def __init__(self, message: Any) -> None:
        self._reply = message.reply_channel
        self._layer = message.channel_layer
        self._flow: str | None = message.headers.get("flow")
        self._sent = 0
        self._written = 0
        self._looked = time.monotonic()

    def send(self, reply: dict[str, Any]) -> None:
        """Send one message, waiting for room first.

        Raises:
            ClientGone: the client left, or nothing has moved for `STALL_SECONDS`.
        """
        if self._flow is not None:
            self._keep_pace(len(reply["content"]))
        self._put(reply)
        self._sent += len(reply["content"])

    def _keep_pace(self, size: int) -> None:
        deadline = time.monotonic() + STALL_SECONDS
        while self._sent and self._sent + size - self._written > MAX_IN_FLIGHT:
            before = self._written
            self._look(WAIT_SECONDS)
            now = time.monotonic()
            if self._written != before:
                deadline = now + STALL_SECONDS
            elif now > deadline:
                raise ClientGone(f"its connection has taken nothing for {STALL_SECONDS:g} seconds")
        if time.monotonic() - self._looked > CHECK_SECONDS:
            self._look(timeout=0)

    def _look(self, timeout: float) -> None:
        for report in self._layer.receive_many([self._flow], 16, timeout):
            if report.message.get("closed"):
                raise ClientGone("the client went away")
            written = report.message.get("written")
            if isinstance(written, int):
                self._written = max(self._written, written)
        self._looked = time.monotonic()

    def _put(self, reply: dict[str, Any]) -> None:
        deadline = time.monotonic() + STALL_SECONDS
        pause = 0.01
        while True:
            try:
                self._reply.send(reply, immediately=True)
                return
            except ChannelFull:
                if time.monotonic() > deadline:
                    raise ClientGone(f"its channel has been full for {STALL_SECONDS:g} seconds") from None
            time.sleep(pause * random.uniform(0.5, 1.0))
            pause = min(pause * 2, 0.5)
