"""Sockets to paths without a route: accepted, as in Channels 1, but refused with a line in the log while DEBUG."""

from __future__ import annotations

import logging

from channel_layer.channel import AnswerableMessage
from channel_layer.messages import CONNECT, DISCONNECT, RECEIVE
from interface_server.logs.server_log import printable
from routing import Router
from routing.router import accept

from ..exceptions import DenyConnection

logger = logging.getLogger("channels.routing")

WEBSOCKET_CHANNELS = (CONNECT, RECEIVE, DISCONNECT)


class RefuseUnrouted:
    """The consumer of ``websocket.connect`` for sockets whose connecting no route of the project takes.

    Args:
        router: with the routes of the project, and not yet with those for what is left.
    """

    def __init__(self, router: Router) -> None:
        self._router = router
        self._routes = [
            f"{name} path={' '.join(patterns)!r}" if patterns else f"{name} (any path)"
            for name in WEBSOCKET_CHANNELS
            for patterns in router.patterns(name, "path")
        ]

    def __call__(self, message: AnswerableMessage) -> None:
        """Accept a socket of which a route takes the frames or the end, and refuse others."""
        path = message.get("path")
        if any(self._router.may_match(name, "path", path) for name in WEBSOCKET_CHANNELS[1:]):
            return accept(message)
        logger.warning(
            "no route is for a WebSocket to %s, so it is refused, and would be accepted without DEBUG; there is %s",
            printable(path), ", ".join(self._routes) or "no route for websocket.connect or websocket.receive at all",
        )  # fmt: skip
        raise DenyConnection
