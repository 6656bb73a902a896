"""Errors of pika and of the broker, translated."""

from __future__ import annotations

from ..exceptions import LayerUnavailable, LayerUnusable
from .amqp import ACCESS_REFUSED, FEATURE, NOT_FOUND, REFUSED, ChannelClosedByBroker, ConnectionClosed
from .publisher import BrokerBlocked

NOT_ALLOWED = 530
"""Reply code with which a broker closes the connection of a user whom it does not let into a virtual host."""


def not_connected(error: BaseException, where: str) -> LayerUnavailable:
    """No connection was made, so nothing has happened."""
    causes = list(_causes(error))
    text = _text(causes[-1])
    refused = [cause for cause in causes if isinstance(cause, REFUSED)]
    closed = [cause for cause in causes if isinstance(cause, ConnectionClosed)]
    if refused or (closed and closed[0].reply_code in (ACCESS_REFUSED, NOT_ALLOWED)):
        text = _text(refused[0] if refused else closed[0])
        return LayerUnusable(
            where,
            f"RabbitMQ at {where} refuses the connection: {text}. Check the user, the password and the virtual host in "
            "CONFIG (url): amqp://user:password@host:5672/virtual_host, and the user's permissions there.",
            uncertain=False,
        )
    return LayerUnavailable(where, text, uncertain=False)


def failed(error: BaseException, where: str, uncertain: bool = True) -> LayerUnavailable:
    """An operation has failed; what the broker itself refuses has not happened."""
    if isinstance(error, ChannelClosedByBroker):
        text = _text(error)
        if error.reply_code == ACCESS_REFUSED:
            return LayerUnusable(
                where,
                f"the user of the channel layer at {where} lacks a right: {text}. It needs to configure, write and "
                "read what begins with the layer's prefix, and to write to amq.default (rabbitmqctl set_permissions).",
                uncertain=False,
            )
        if error.reply_code == NOT_FOUND and "home node" in text:
            text += (
                f". RabbitMQ makes no queue in its place: start that node, or permit {FEATURE} on all nodes "
                "(deprecated_features.permit in rabbitmq.conf), whose queues go with their node and are made on another"
            )
            return LayerUnavailable(where, text, uncertain=False, reachable=True)
    if isinstance(error, BrokerBlocked):
        return LayerUnavailable(where, f"it takes no messages: {_text(error)}", uncertain=uncertain, reachable=True)
    if isinstance(error, TimeoutError):
        return LayerUnavailable(where, "it does not answer in time", uncertain=uncertain)
    return LayerUnavailable(where, _text(error), uncertain=uncertain)


def _causes(error: BaseException) -> list[BaseException]:
    """The error, and those that pika has wrapped in it, outermost first."""
    found = [error]
    inner = getattr(error, "exception", None)
    for cause in [inner, *getattr(error, "exceptions", ()), *error.args]:
        if isinstance(cause, BaseException) and cause is not error:
            found += _causes(cause)
    return found


def _text(error: BaseException) -> str:
    """The error in one line."""
    text = getattr(error, "reply_text", None) or getattr(error, "strerror", None) or str(error)
    return " ".join(str(text).split()).rstrip(".") or type(error).__name__
