"""The consumer of the connections that no route of Channels 1 takes: it hands them to the ASGI application."""

from __future__ import annotations

from channel_layer.channel import AnswerableMessage, Group
from channel_layer.codec import unpack_body
from channel_layer.delivery import LAST_ORDER
from channel_layer.messages import CONNECT, DISCONNECT, RECEIVE
from routing import Router
from routing.router import accept
from workers.instances import HOSTS, Event

from ..scope.applications import Application, Scope
from .hosted import HostedApplication
from .scopes import websocket_scope

LATER = (RECEIVE, DISCONNECT)


class HostConsumer:
    """Has a worker host an application for each WebSocket.

    Args:
        application: an ASGI 3 application.
        router: with the routes of the project: they come first.
        state: see `websocket_scope`.
    """

    hands_over = True
    """Mark of a consumer that passes a message to an application, whose events count by themselves."""

    def __init__(self, application: Application, router: Router, state: Scope) -> None:
        self.application = application
        self._router = router
        self._state = state

    def connect(self, message: AnswerableMessage, **kwargs: object) -> HostedApplication | None:
        """A new connection; one of which routes take the frames or the end is accepted for these."""
        if any(self._router.may_match(name, "path", message.get("path")) for name in LATER):
            accept(message)
            return None
        event = (message.headers.get("turn", 1), {"type": CONNECT})
        scope = websocket_scope(message.content, self._state)
        return HostedApplication(
            self.application, scope, message["reply_channel"], 0, 0, [event], None, False, message.channel_layer
        )

    def disconnect(self, message: AnswerableMessage, **kwargs: object) -> HostedApplication | None:
        """The last will of an interface server that has disappeared, for one of its connections.

        Tell who hosts it, or make it again to be told, if the will has what that takes: then nobody hosts it.
        """
        if message.get("order") != LAST_ORDER:
            return None
        if "opening" not in message:
            Group(HOSTS, channel_layer=message.channel_layer).send({"left": message["reply_channel"]})
            return None
        event = (message["turn"] + 1, {"type": DISCONNECT, "code": message["code"]})
        return self._go_on(message, message["epoch"], [event], is_orphan=True)

    def resume(self, message: AnswerableMessage, **kwargs: object) -> HostedApplication:
        """A connection whose instance another worker has let go of."""
        events = list(zip(message["turns"], message["events"], strict=True))
        return self._go_on(message, message.headers["epoch"], events)

    def _go_on(
        self, message: AnswerableMessage, epoch: int, events: list[tuple[int, Event]], is_orphan: bool = False
    ) -> HostedApplication:
        return HostedApplication(
            self.application,
            websocket_scope(unpack_body(message["opening"]), self._state),
            message["reply_channel"],
            epoch,
            message["turn"],
            events,
            message["checkpoint"],
            is_orphan,
            message.channel_layer,
        )
