"""Last wills: the ends of WebSockets that consumers hear of if this process is killed.

For each ``websocket.connect`` that is queued a ``websocket.disconnect`` is left with the layer, in the same write, and
withdrawn with the real one. If the process is killed, others send it; see `channel_layer.delivery.LastWill`.
Nothing of it is kept here: it is made again when the layer has lost it.

If a hosted application has no instance in any worker, its last will has what a worker needs to make one that hears of
the end. It is left once the connection has been quiet for a while, so that frames and deploys under load cost nothing,
and replaced by the plain one with the message by which the instance is made again.

A process that was taken for gone although it was only held up closes the WebSockets whose disconnects others have
sent, with 1012: consumers have tidied up behind them, so their clients have to connect again. The others go on.
"""

from __future__ import annotations

import asyncio
import logging
from collections import deque
from collections.abc import Callable, Collection, Iterable, Mapping
from functools import partial

from channel_layer.delivery import LAST_ORDER, Content, Headers, LastWill, Outgoing
from channel_layer.exceptions import ChannelLayerError
from channel_layer.layer import ChannelLayer
from channel_layer.messages import DISCONNECT, DisconnectMessage

from ..wire.websocket_frames import ABNORMAL
from .connection import Connection, LastWillOwner
from .uplink import Uplink

logger = logging.getLogger("interface_server.last_wills")

BATCH = 250
PAUSE_SECONDS = 0.02
RETRY_SECONDS = 1.0


class LastWills:
    """Leaves and withdraws the last words of the WebSockets of one process.

    Args:
        layer: any channel layer; with one that cannot keep last wills nothing happens here.
        name: the reply name of this process.
        connections: local part → HTTP exchange or WebSocket connection.
        uplink: writes to the layer, in order.
        ordered: whether messages take turns.

    Attributes:
        wanted: whether the layer keeps them.
    """

    def __init__(
        self, layer: ChannelLayer, name: str, connections: Mapping[str, Connection], uplink: Uplink, ordered: bool
    ) -> None:
        self._layer = layer
        self._name = name
        self._connections = connections
        self._uplink = uplink
        self._headers: Headers | None = {"turn": LAST_ORDER} if ordered else None
        # Where all is in one process, nobody would be left to carry them out.
        self.wanted = "last_wills" in getattr(layer, "extensions", ()) and not getattr(layer, "local_only", False)
        self._again: deque[str] = deque()
        self._timer: asyncio.TimerHandle | None = None

    def watch(self) -> None:
        """Begin to hear of last wills that were carried out or lost; call it in the event loop."""
        if self.wanted:
            loop = asyncio.get_running_loop()
            self._layer.watch_last_wills(self._name, partial(_in_loop, loop, self.learn))

    def leave(self, item: Outgoing, channel: str, path: str, bequest: Content | None = None) -> None:
        """Have a message leave the last will of a WebSocket.

        Args:
            bequest: what a worker needs to make its application.
        """
        if self.wanted:
            message: DisconnectMessage = {"reply_channel": channel, "code": ABNORMAL, "path": path, "order": LAST_ORDER}
            content = {**message, **bequest} if bequest else message
            item.last_will = LastWill(channel, self._layer.prepare(DISCONNECT, content, self._headers))

    def renew(self, channel: str) -> None:
        """Leave the last will of a WebSocket again soon, since there is another bequest."""
        if self.wanted:
            self._leave_again([channel.removeprefix(self._name)], PAUSE_SECONDS)

    def leave_all_again(self) -> None:
        """Leave those of all WebSockets again, which another process has left: this one answers for them now."""
        if self.wanted:
            found = ((local, connection.last_will) for local, connection in self._connections.items())
            self._leave_again([local for local, owner in found if owner is not None], PAUSE_SECONDS)

    def withdraw(self, item: Outgoing, channel: str) -> None:
        """Have a ``websocket.disconnect`` withdraw the last will."""
        if self.wanted:
            item.last_will = LastWill(channel, None)

    def resolve(self, item: Outgoing) -> None:
        """Nobody knows whether this was stored: see to it that consumers hear of the end of its WebSocket once.

        What is sent instead is dropped if there is no last will, which says whether the message before it was stored.
        """
        last_will = item.last_will
        if last_will is None or not item.body:
            return
        message = last_will.message
        if message is not None:  # a connect, and its client gets 503
            connection = self._connections.get(last_will.channel.removeprefix(self._name))
            owner = None if connection is None else connection.last_will
            if owner is None or not owner.is_handshake:
                return
            item = Outgoing(DISCONNECT, message.body, message.headers)
        item.last_will = LastWill(last_will.channel, None, claims=True)
        if self._uplink.put(item, patient=True) is None:
            logger.error("a websocket.disconnect may be lost: too much waits already")

    def learn(self, carried_out: Collection[str]) -> None:
        """Take in which last wills were carried out by others, who took this process for gone, or that all are lost."""
        found = ((local, connection.last_will) for local, connection in self._connections.items())
        sockets = {local: owner for local, owner in found if owner is not None}
        disowned = sockets.keys() & carried_out
        if disowned:
            logger.error(
                "this process was held up for so long that it was taken for gone; closing %d WebSockets "
                "of which consumers were told that they are closed", len(disowned),
            )  # fmt: skip
        for local in disowned:
            sockets.pop(local).disown()
        self._leave_again(sockets, 0)

    # -- from the uplink -------------------------------------------------------------------------

    def sent(self, item: Outgoing) -> None:
        """A last will was left again."""

    def refused(self, item: Outgoing, error: ChannelLayerError) -> None:
        """It was not, or nobody knows."""
        if item.last_will is not None:
            self._leave_again([item.last_will.channel.removeprefix(self._name)], RETRY_SECONDS)

    # -- inside ----------------------------------------------------------------------------------

    def _leave_again(self, locals_: Iterable[str], seconds: float) -> None:
        self._again.extend(locals_)
        if self._again and self._timer is None:
            self._timer = asyncio.get_running_loop().call_later(seconds, self._leave_some)

    def _leave_some(self) -> None:
        """Leave some last wills again, through the uplink: so none comes behind its withdrawal."""
        self._timer = None
        undecided = []
        for _ in range(min(BATCH, len(self._again))):
            local = self._again.popleft()
            connection = self._connections.get(local)
            owner = None if connection is None else connection.last_will
            if owner is None:
                continue
            if owner.is_handshake or not self._put(owner):
                undecided.append(local)
        pause = PAUSE_SECONDS if self._again else RETRY_SECONDS
        self._leave_again(undecided, pause)

    def _put(self, owner: LastWillOwner) -> bool:
        item = Outgoing(DISCONNECT, b"")
        self.leave(item, owner.channel, owner.path, owner.bequeath())
        return self._uplink.put(item, self, patient=True, kept=True) is not None


def _in_loop(loop: asyncio.AbstractEventLoop, learn: Callable[[Collection[str]], None], found: Collection[str]) -> None:
    try:
        loop.call_soon_threadsafe(learn, found)
    except RuntimeError:  # the loop was closed meanwhile
        return
