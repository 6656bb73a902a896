"""Django's views as the consumer of ``http.request``."""

from __future__ import annotations

import logging
from collections.abc import Generator, Iterator
from contextlib import closing
from typing import IO, ClassVar

from django.conf import settings
from django.core.handlers.base import reset_urlconf
from django.http import HttpResponse, StreamingHttpResponse
from django.http.response import HttpResponseBase

from channel_layer.channel import AnswerableMessage
from channel_layer.exceptions import ChannelLayerError
from channel_layer.messages import ResponseChunk
from workers import Stream

from .exceptions import RequestAborted, RequestTimeout, ResponseLater
from .http import encoding, request_signals
from .http.flow import BrokenOff, ClientGone, PacedSender
from .http.request import AsgiRequest
from .http.streaming import FAILED, ResponseStream, described, file_behind, has_known_end
from .runtime.django_internals import UnloggedResponse, ViewHandler, finish_as, hand_over_resources
from .runtime.hooks import on_answer
from .runtime.surroundings import prefix_urls_of_request

__all__ = ["AsgiHandler", "AsgiRequest", "ViewConsumer"]

logger = logging.getLogger("django.request")
stream_logger = logging.getLogger("channels.handler")


class NoResponse(UnloggedResponse):
    """Placeholder that passes through the middleware when no response is to go out."""


class AsgiHandler(ViewHandler):
    """Turns an ``http.request`` message into ``http.response`` messages, through middleware and view.

    Thread-safe once made. Making one loads the middleware.
    """

    request_class: ClassVar[type[AsgiRequest]] = AsgiRequest

    outcomes = (ResponseLater, RequestAborted, RequestTimeout)

    chunk_size: ClassVar[int] = 512 * 1024
    """Most bytes of content in one message."""

    def __init__(self) -> None:
        super().__init__()
        self.load_middleware()
        own = type(self).encode_response.__func__  # type: ignore[attr-defined]  # of a class method
        self._is_encoded_here = own is AsgiHandler.encode_response.__func__  # type: ignore[attr-defined]

    def __call__(self, message: AnswerableMessage) -> Generator[ResponseChunk, None, None]:
        """Yield the messages of the response, none if there is to be none.

        The response is closed, and ``request_finished`` sent if anybody listens, when the iterator is
        exhausted or closed.
        """
        response, with_content = self.respond(message)
        yield from self.replies(response, with_content)

    def respond(self, message: AnswerableMessage) -> tuple[HttpResponseBase, bool]:
        """Return Django's response, and whether its content is wanted. The caller has to close the response."""
        request_signals.send_started(self.__class__, message)
        request = self.request_class(message)
        prefix_urls_of_request(request.script_name)
        response = self._answer(request)
        for answered in on_answer:
            answered(request)
        finish_as(response, self.__class__)
        request_signals.forget_urlconf(request, response)
        return response, request.method != "HEAD"

    def replies(self, response: HttpResponseBase, with_content: bool) -> Generator[ResponseChunk, None, None]:
        """Yield the messages of a response, then close it."""
        try:
            if not isinstance(response, NoResponse):
                yield from self.encode_response(response, with_content=with_content)
        finally:
            request_signals.close(response)

    def only_reply(self, response: HttpResponseBase, with_content: bool) -> ResponseChunk | None:
        """Make the message of a response that is sent as one; ``None`` for any other, which `replies` is for."""
        if isinstance(response, NoResponse) or not self._is_encoded_here:
            return None
        return encoding.encode_whole(response, self.chunk_size, with_content)

    @classmethod
    def encode_response(cls, response: HttpResponseBase, with_content: bool = True) -> Iterator[ResponseChunk]:
        """Yield the messages of a response; see `channels.http.encoding.encode`."""
        return encoding.encode(response, cls.chunk_size, with_content)

    @classmethod
    def chunk_bytes(cls, data: bytes) -> Iterator[tuple[bytes, bool]]:
        """Yield pairs of a chunk and a flag for the last one, for bytes of any length."""
        return encoding.split(data, cls.chunk_size)

    def _answer(self, request: AsgiRequest) -> HttpResponseBase:
        response = self.get_response(request)
        # Middleware that read the body around the view has made an error page of its failure.
        failure = request.body_failure
        if failure is None or getattr(response, "answers_failure", False):
            return response
        replacement = self.response_to(failure)
        # Not response.close(): that would send request_finished, which is sent once.
        hand_over_resources(response, replacement)
        return replacement

    def response_to(self, outcome: Exception) -> HttpResponse:
        """Answer a timeout with 408, the other outcomes with `NoResponse`."""
        response: HttpResponse
        if isinstance(outcome, RequestTimeout):
            response = HttpResponse("408 Request Timeout: the request's body did not arrive in time.", status=408)
            response["Content-Type"] = f"text/plain; charset={settings.DEFAULT_CHARSET}"
        else:
            response = NoResponse()
        response.answers_failure = True  # type: ignore[attr-defined]
        return response


class ViewConsumer:
    """The consumer that answers ``http.request`` with Django's views.

    A response of one message is sent when the consumer ends, with everything else it sends. A longer
    one is sent as it is produced: by an event loop if it is an async iterator or a file, else from here.
    """

    handler_class: ClassVar[type[AsgiHandler]] = AsgiHandler

    def __init__(self) -> None:
        self.handler = self.handler_class()

    def __call__(self, message: AnswerableMessage, **kwargs: object) -> Stream | None:
        """Answer one message, or return what goes on with it."""
        handler = self.handler
        try:
            response, with_content = handler.respond(message)
        except Exception:
            _send_at_all(message, FAILED)
            raise
        if encoding.is_streaming(response) and with_content and response.status_code not in encoding.BODILESS:
            file = file_behind(response)
            if file is not None or response.is_async:
                return self._begin_stream(message, response, file)
        if self._send_whole(message, response, with_content):
            return None
        with closing(handler.replies(response, with_content)) as replies:
            try:
                first = next(replies, None)
                if first is not None and not first["more_content"]:
                    message.reply_channel.send(first)
            except Exception:
                # Not a view's error, which has a page of its own. No client must wait for an answer in vain.
                _send_at_all(message, FAILED)
                raise
            if first is not None and first["more_content"]:
                self._send_from_here(message, first, replies, not response.streaming or has_known_end(response))
        return None

    def _send_whole(self, message: AnswerableMessage, response: HttpResponseBase, with_content: bool) -> bool:
        """Send a response of one message and close it; false if it has others, and then nothing was done."""
        try:
            reply = self.handler.only_reply(response, with_content)
            if reply is None:
                return False
            message.reply_channel.send(reply)
        except Exception:
            _send_at_all(message, FAILED)
            request_signals.close(response)
            raise
        request_signals.close(response)
        return True

    def _begin_stream(
        self, message: AnswerableMessage, response: StreamingHttpResponse, file: IO[bytes] | None
    ) -> Stream | None:
        size = self.handler.chunk_size
        try:
            beginning = b"" if file is None else file.read(size)
            if file is not None and len(beginning) < size:  # that is all of it
                message.reply_channel.send({**encoding.head(response), "content": beginning, "more_content": False})
                request_signals.close(response)
                return None
            stream = ResponseStream(message, response, size, file, beginning)
        except Exception:
            request_signals.close(response)
            _send_at_all(message, FAILED)
            raise
        # It is reset at the end of a request, which comes in another thread.
        reset_urlconf(sender=None)
        return stream

    def _send_from_here(
        self, message: AnswerableMessage, first: ResponseChunk, replies: Iterator[ResponseChunk], is_finite: bool
    ) -> None:
        with closing(PacedSender(message, is_finite)) as sender:
            try:
                sender.send(first)
                for reply in replies:
                    sender.send(reply)
            except (ClientGone, BrokenOff) as reason:
                if not sender.is_gone:
                    sender.break_off()
                stream_logger.info("the response to %s was given up: %s", described(message), reason)
            except BaseException:
                # It has begun, so no error page can follow: the connection is cut, so that the client does not
                # take the part for the whole.
                sender.break_off()
                raise


def _send_at_all(message: AnswerableMessage, reply: ResponseChunk) -> None:
    """Send at once; log a failure instead of raising it, because another error is on its way."""
    try:
        message.reply_channel.send(reply, immediately=True)
    except ChannelLayerError as error:
        stream_logger.warning("%s: %s", message.reply_channel, error)
