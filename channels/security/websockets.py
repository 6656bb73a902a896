"""Checks of where a WebSocket was opened from.

A browser lets any page open a WebSocket to any server, and sends the cookies along; the Origin header
(RFC 6455, 10.2) tells which page it was. Only a browser is bound to tell the truth in it.
"""

from __future__ import annotations

import functools
import inspect
import logging
from collections.abc import Callable
from urllib.parse import urlsplit

from asgiref.sync import iscoroutinefunction, markcoroutinefunction
from django.conf import settings
from django.http.request import validate_host

from channel_layer.channel import Message
from channels.decorating import message_of
from channels.exceptions import DenyConnection
from channels.http.request import header_pairs
from interface_server.logs.server_log import printable
from routing import passes_arguments

__all__ = ["AllowedHostsOnlyOriginValidator", "BaseOriginValidator", "allowed_hosts_only"]

logger = logging.getLogger("channels.security")


class BaseOriginValidator:
    """Decorates ``websocket.connect`` consumers: they run only for origins that `validate_origin` takes.

    Args:
        func: the consumer, a function or a method.
    """

    def __init__(self, func: Callable[..., object]) -> None:
        functools.update_wrapper(self, func)
        passes_arguments(self)
        # Because of __get__ it looks like a method descriptor, which inspect takes for one written in C.
        self.__signature__ = inspect.signature(type(self).__call__.__get__(self))
        if iscoroutinefunction(func):
            markcoroutinefunction(self)  # for decorators around this one
        self.func = func

    def __call__(self, *args: object, **kwargs: object) -> object:
        """Run the consumer, or reject the connection."""
        message = message_of(type(self).__name__, args, kwargs)
        origin = self.get_origin(message)
        if self.validate_origin(message, origin):
            return self.func(*args, **kwargs)
        return self.process_invalid_origin(message, origin)

    def __get__(self, instance: object, owner: type | None = None) -> Callable[..., object]:
        return self if instance is None else functools.partial(self, instance)

    def get_header(self, message: Message, name: bytes) -> list[bytes]:
        """The first value of a header, in a list; raises `KeyError` if there is none."""
        values = _values(message, name)
        if not values:
            raise KeyError(f"No header named {name!r}")
        return values[:1]

    def get_origin(self, message: Message) -> str:
        """The Origin header. A subclass that lets in clients without one gives them a name here.

        Raises:
            DenyConnection: there is none, there are several, or it is not ASCII text.
        """
        values = _values(message, b"origin")
        if len(values) != 1 or not values[0].isascii():
            _log(message, None)
            raise DenyConnection
        return values[0].decode("ascii")

    def validate_origin(self, message: Message, origin: str) -> bool:
        """Tell if the consumer is to run; a subclass decides."""
        raise NotImplementedError(f"{type(self).__name__} does not say which origins are valid")

    def process_invalid_origin(self, message: Message, origin: str) -> object:
        """Reject the connection; its client gets HTTP 403.

        Raises:
            DenyConnection: always.
        """
        _log(message, origin)
        raise DenyConnection


class AllowedHostsOnlyOriginValidator(BaseOriginValidator):
    """Takes origins whose host is in ALLOWED_HOSTS; with DEBUG and an empty list, those on this machine."""

    def validate_origin(self, message: Message, origin: str) -> bool:
        """See `BaseOriginValidator.validate_origin`."""
        try:
            parts = urlsplit(origin)
            host = parts.hostname
        except ValueError:  # a bracket without its partner, for example
            return False
        if not host or parts.scheme not in ("http", "https"):
            return False
        allowed = settings.ALLOWED_HOSTS
        if settings.DEBUG and not allowed:
            allowed = [".localhost", "127.0.0.1", "[::1]"]
        return bool(validate_host(f"[{host}]" if ":" in host else host, allowed))


allowed_hosts_only = AllowedHostsOnlyOriginValidator


def _values(message: Message, name: bytes) -> list[bytes]:
    # What is not a pair of a name and a value is not a header; a message made by hand may hold it.
    pairs = [pair for pair in header_pairs(message) if len(pair) == 2]
    return [value for key, value in pairs if key.lower() == name]


def _log(message: Message, origin: str | None) -> None:
    logger.warning("denied a WebSocket to %s from origin %s", printable(message.get("path")), printable(origin))
