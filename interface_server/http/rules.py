"""Rules of an HTTP exchange that hold under daphne's own protocol and in a WSGI server."""

from __future__ import annotations

from channel_layer.exceptions import InvalidMessage, MessageTooLarge
from channel_layer.messages import RequestBodyMessage, RequestEndMessage

from ..bridge.messages import Scope
from ..wire.responses import Head

_TEXTS = {
    400: "The request cannot be understood.",
    408: "The request did not arrive in time.",
    413: "The request is too large.",
    500: "The application failed to answer, or answered with something that is not an HTTP response.",
    503: "The service is overloaded or restarting. Please try again in a few seconds.",
    504: "The application did not answer in time.",
}


def own_answer(status: int, retry_after: int) -> tuple[Head, bytes]:
    """The response of the interface server itself, where no consumer answers.

    Args:
        status: one of 400, 408, 413, 500, 503 and 504.
        retry_after: seconds after which a client may ask again, for a 503.
    """
    fields = [(b"content-type", b"text/plain; charset=utf-8")]
    if status == 503:
        fields.append((b"retry-after", b"%d" % retry_after))
    return Head({"status": status, "headers": fields}), _TEXTS[status].encode() + b"\n"


def status_of(error: InvalidMessage | MessageTooLarge) -> int:
    """The status for a request that no message can carry."""
    return 413 if isinstance(error, MessageTooLarge) else 400


def body_chunk(content: bytes | bytearray, more: bool, length: int) -> RequestBodyMessage:
    """A message with a part of a request's body.

    Args:
        content: the part.
        more: whether others follow.
        length: bytes of the body so far. The last part carries it, because those before it may have expired.
    """
    message: RequestBodyMessage = {"content": content, "closed": False, "more_content": more}
    if not more:
        message["length"] = length
    return message


def closed_body() -> RequestBodyMessage:
    """The message after which no part of a body follows, though it is incomplete."""
    return {"content": b"", "closed": True, "more_content": False}


def end_of_exchange(scope: Scope, reply_channel: str) -> RequestEndMessage:
    """An ``http.disconnect`` message."""
    return {"reply_channel": reply_channel, "path": scope["path"]}
