"""Answers for the threads of a WSGI server: one reader for each process."""

from __future__ import annotations

import asyncio
import logging
import os
import secrets
import threading
import time
from collections import deque
from collections.abc import Callable, Iterable
from concurrent.futures import ThreadPoolExecutor

from channel_layer.backoff import Backoff
from channel_layer.delivery import Delivery, Headers, Message
from channel_layer.exceptions import ChannelLayerError, LayerConfigurationError, LayerUnavailable, clause
from channel_layer.layer import ChannelLayer
from channel_layer.messages import FLOW_PATTERN, ResponseReport

from ..http.download import Download
from ..options import Options
from ..spool.file import SpoolFile
from ..spool.threads import THREADS, SpoolThreads
from ..wire.responses import BadResponse, content_of, is_push

logger = logging.getLogger("interface_server.wsgi")

BATCH = 256
WAIT_SECONDS = 2.0
FIRST_PAUSE, LAST_PAUSE = 0.05, 1.0
"""Seconds between attempts to reach a layer that is away."""


Tell = Callable[[str, ResponseReport], None]

BROKEN_OFF: Message = {"content": b"", "more_content": True, "closed": True}
"""Marks in a mailbox that the consumer has failed."""


class Mailbox:
    """The messages that came for one request. One thread takes, the reader puts.

    It is the `BodyWriter` of its response: what the taking thread is about to get is here, the rest in
    a `Download`.

    Args:
        channel: the full name of the reply channel.
        options: limits.
        file: where what waits goes, if it is much.
        pool: threads to write and read that.
        tell: sends a message to a channel; may block.

    Attributes:
        flow: where the producer of the response hears how much was taken over.
        read: bytes of the request's body that its reader has reported as read.
    """

    def __init__(
        self, channel: str, options: Options, file: SpoolFile, pool: ThreadPoolExecutor, tell: Tell
    ) -> None:  # fmt: skip
        self.channel = channel
        self.flow = FLOW_PATTERN + channel.partition("!")[2]
        self._tell = tell
        self.read = 0
        self._options = options
        self._first: Message | None = None
        self._download: Download | None = None
        self._ready: deque[tuple[bytes, bool]] = deque()
        self._ready_size = 0
        self._problem: str | None = None
        self._arrived = threading.Condition(threading.RLock())
        self._spools = SpoolThreads(file, self._post, pool)

    @property
    def is_answered(self) -> bool:
        """True once the response has begun."""
        return self._first is not None

    def put(self, message: Message, headers: Headers) -> None:
        """Add a message; an empty one says nothing of the response."""
        with self._arrived:
            flow, read = headers.get("flow"), headers.get("read")
            if isinstance(flow, str):
                self.flow = flow
            if type(read) is int:
                self.read = max(self.read, read)
            if headers.get("failed"):
                message = BROKEN_OFF
            if is_push(message):
                return
            if message and self._first is None:
                self._begin(message)
            elif message:
                self._continue(message)
            self._arrived.notify()
            asked = self._download is not None and isinstance(flow, str) and not message
        self._report(asked)

    def take(self, timeout: float) -> Message | None:
        """The first message; ``None`` if it does not come in time."""
        with self._arrived:
            self._arrived.wait_for(lambda: self._first is not None, timeout)
            return self._first

    def take_part(self, timeout: float) -> tuple[bytes, bool]:
        """The next part of the response, and whether there are more.

        Raises:
            BadResponse: there is none, or it does not come in time.
        """
        with self._arrived:
            self._arrived.wait_for(lambda: self._ready or self._problem is not None, timeout)
            if not self._ready:
                raise BadResponse(self._problem or "no more of it came")
            content, more = self._ready.popleft()
            self._ready_size -= len(content)
            if self._download is not None:
                self._download.pump()
        self._report()
        return content, more

    def wait_for_reader(self, count: int, timeout: float) -> None:
        """Wait until so much of the request's body was read, or the response begins; at most so long."""
        with self._arrived:
            self._arrived.wait_for(lambda: self.read >= count or self._first is not None, timeout)

    def close(self) -> None:
        """Drop what nobody took."""
        with self._arrived:
            if self._download is not None:
                self._download.close()

    # -- BodyWriter --------------------------------------------------------------------------

    def write(self, content: bytes, more: bool) -> None:
        """See `BodyWriter.write`."""
        self._ready.append((content, more))
        self._ready_size += len(content)

    def buffered(self) -> int:
        """See `BodyWriter.buffered`."""
        return self._ready_size

    def _report(self, asked: bool = False) -> None:
        """Tell the producer how much was taken over, if there is news or it asks for a heartbeat."""
        with self._arrived:
            taken = None if self._download is None else self._download.report()
            if taken is None and asked and self._download is not None:
                taken = self._download.reported
        if taken is not None:
            self._tell(self.flow, {"written": taken})

    def _post(self, call: Callable[[], None]) -> None:
        """Have a thread of the disk go on here."""
        with self._arrived:
            call()
        self._report()

    # -- under the lock --------------------------------------------------------------------------

    def _begin(self, message: Message) -> None:
        self._first = message
        if message.get("more_content"):
            content = message.get("content")
            begun = len(content) if isinstance(content, bytes) else 0
            self._download = Download(self._spools, self._options, self, self._moved, begun)

    def _continue(self, message: Message) -> None:
        if self._problem is not None or self._download is None:
            return
        if message.get("closed"):
            self._problem = "its producer broke off"
            return
        try:
            self._download.put(content_of(message), bool(message.get("more_content")))
        except BadResponse as error:
            self._problem = str(error)
        else:
            self._problem = self._download.problem()

    def _moved(self) -> None:
        """The disk has taken some of the response, or given it back."""
        assert self._download is not None
        self._download.pump()
        self._problem = self._problem or self._download.problem()
        self._arrived.notify()


class Reader:
    """A thread that receives on this process's reply name and hands messages to mailboxes.

    It starts with the first request and lives as long as the process. It belongs to the process that
    made it; `belongs_here` says whether that is this one.

    Args:
        layer: any channel layer.
        options: limits.

    Attributes:
        file: where bodies and responses wait that are too large for the memory.
        tells_of_ends: whether consumers want to know of the end of every request; a worker has said so.
    """

    def __init__(self, layer: ChannelLayer, options: Options) -> None:
        self.tells_of_ends = False
        self.file = SpoolFile(options.spool_dir, options.spool_bytes, options.spool_memory)
        self.name = f"wsgi.{secrets.token_urlsafe(12)}!"
        self._layer = layer
        self._options = options
        self._pool = ThreadPoolExecutor(THREADS, "spool")
        self._pid = os.getpid()
        self._mailboxes: dict[str, Mailbox] = {}
        self._gone: set[str] = set()
        self._lock = threading.Lock()
        self._closed = False
        self._thread = threading.Thread(target=self._run, name="wsgi replies", daemon=True)
        self._thread.start()

    @property
    def belongs_here(self) -> bool:
        """True if this process made it; a thread does not survive a fork."""
        return self._pid == os.getpid()

    def open(self) -> Mailbox:
        """A mailbox with a new, unguessable reply channel."""
        mailbox = Mailbox(self.name + secrets.token_urlsafe(12), self._options, self.file, self._pool, self._tell)
        self._mailboxes[mailbox.channel] = mailbox
        return mailbox

    def shut(self, mailbox: Mailbox) -> None:
        """Forget a mailbox, and have its channel taken out of every group soon."""
        mailbox.close()
        if self._mailboxes.pop(mailbox.channel, None) is not None:
            with self._lock:
                self._gone.add(mailbox.channel)

    def close(self) -> None:
        """End the thread."""
        self._closed = True
        self._layer.interrupt()
        self._thread.join(WAIT_SECONDS + 1)
        self._pool.shutdown(wait=True)
        self.file.close()

    def _run(self) -> None:
        retries = Backoff(FIRST_PAUSE, LAST_PAUSE)
        with asyncio.Runner() as runner:
            while not self._closed:
                try:
                    self._dispatch(self._layer.receive_batch([self.name], BATCH, WAIT_SECONDS))
                    self._forget_gone(runner)
                except Exception as error:
                    self._report(error, first=retries.fresh)
                    time.sleep(retries.next())
                    continue
                if not retries.fresh:
                    logger.warning("the channel layer answers again")
                    retries.reset()
            runner.run(self._layer.aclose())

    def _dispatch(self, deliveries: Iterable[Delivery]) -> None:
        for delivery in deliveries:
            locals_ = delivery.members if delivery.members is not None else ("",)
            for local in locals_:
                self._hand_over(delivery.channel + local, delivery.message, delivery.headers or {})

    def _hand_over(self, channel: str, message: Message, headers: Headers) -> None:
        if headers.get("ends"):
            self.tells_of_ends = True
        mailbox = self._mailboxes.get(channel)
        if mailbox is not None:
            mailbox.put(message, headers)
            return
        # An answer that comes too late, or a member of a group that left without saying so.
        with self._lock:
            self._gone.add(channel)
        if "flow" in headers:
            self._tell(headers["flow"], {"closed": True})

    def _tell(self, channel: str, message: ResponseReport) -> None:
        try:
            self._layer.send(channel, message)
        except ChannelLayerError as error:
            logger.warning("%s: the producer of a response was not told how it goes: %s", channel, error)

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
            level = logging.ERROR if isinstance(error, LayerConfigurationError) else logging.WARNING
            logger.log(level, "%s; trying again until it answers", clause(error))
