"""From the layer to connections: one reader per process."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable

from channel_layer import tracing
from channel_layer.backoff import Backoff
from channel_layer.codec import EMPTY
from channel_layer.delivery import ALIVE, SHARED, Delivery, Outgoing
from channel_layer.exceptions import InvalidName, LayerConfigurationError, LayerUnavailable
from channel_layer.questions import QUESTIONS

from . import spans
from .broadcast import Broadcast
from .context import Context
from .replies import BadReply, Reply
from .uplink import DOUBT_SECONDS

logger = logging.getLogger("interface_server.downlink")

LEAST_BATCH, BATCH = 8, 512
"""Messages to receive at once: as many as wait, but only so many as are known to be small."""

BATCH_BYTES = 4_194_304
WAIT_SECONDS = 2.0
MEMBERS_AT_A_TIME = 500

EVENTS_AT_A_TIME = 125
"""Members of a group in one message to a worker, which begins with the first ones while the next are still dealt with
here: 500 in one message took an eighth longer until all had their answers, on two cores."""

FIRST_RETRY = 0.05
LAST_RETRY = 1.0
LEAST_DOWN = 0.2
NOBODY = "nobody"
"""Local part of a channel of this process on which messages are for no connection."""


class Downlink:
    """Receives for one reply name and hands messages to connections by their local part.

    Args:
        context: the reply name, the connections, and who hears of the rest: the uplink of the layer's outages, the
            states of what comes for connections that are gone, the departures of members that are.

    Attributes:
        halting: set it to have `run` return once it has dealt with what it has received.
        elsewhere: takes what is for connections that another process has under the same name; ``None`` if there is
            none.
    """

    def __init__(self, context: Context) -> None:
        self._layer = context.layer
        self._name = context.name
        self._connections = context.connections
        self._uplink = context.uplink
        self._departures = context.departures
        self._states = context.states
        self._hosts = context.hosts
        self._questions = context.questions
        self._facts = context.facts
        self.halting = False
        self.elsewhere: Callable[[Delivery], None] | None = None

    async def run(self) -> None:
        """Receive until cancelled, or told to halt; outlives every outage of the layer."""
        retries = Backoff(FIRST_RETRY, LAST_RETRY)
        wait = WAIT_SECONDS
        limit = LEAST_BATCH
        loop = asyncio.get_running_loop()
        doubt: asyncio.TimerHandle | None = None
        failure: Exception | None = None
        while not self.halting:
            asked = loop.time()
            try:
                deliveries = await self._layer.areceive_batch([self._name], limit=limit, timeout=wait)
            except Exception as error:
                if not isinstance(error, LayerUnavailable):
                    logger.exception("receiving failed")
                    error = LayerUnavailable(self._layer.describe(), repr(error))
                if wait and not isinstance(error, LayerConfigurationError):
                    failure = error
                    doubt = loop.call_later(DOUBT_SECONDS, self._uplink.mark_down, error)
                    wait = 0
                    continue
                if doubt is not None:
                    doubt.cancel()
                self._facts.failures += 1
                self._uplink.mark_down(error)
                await asyncio.sleep(retries.next())
                wait = 0  # the next call only finds out whether the layer is back
                continue
            retries.reset()
            if doubt is not None:
                doubt.cancel()
                doubt = None
                if self._uplink.down is None:
                    logger.warning("a connection to the channel layer ended, and another took its place: %s", failure)
            self._facts.heard = loop.time()
            self._uplink.confirm(asked)
            limit = next_limit(limit, deliveries)
            await self.dispatch(deliveries)
            del deliveries  # large messages must not stay in memory until the next ones are here
            if self._uplink.down is not None:
                if wait:
                    await asyncio.sleep(LEAST_DOWN)
                self._uplink.mark_up()
                logger.warning("the channel layer answers again")
            wait = WAIT_SECONDS
        if doubt is not None:
            doubt.cancel()
        await self._layer.astop_receiving([self._name])

    def wake(self) -> None:
        """Have a receive that waits return soon."""
        self._uplink.put(Outgoing(self._name + NOBODY, EMPTY))

    async def dispatch(self, deliveries: list[Delivery]) -> None:
        """Hand messages to those that they are for."""
        start = len(self._name)
        connections = self._connections
        trace = logger.isEnabledFor(logging.DEBUG)
        for delivery in deliveries:
            if trace:
                logger.debug("%r", delivery)
            if tracing.is_on:
                spans.note_delivery(delivery)
            if delivery.members is not None:
                await self._to_group(delivery)
                continue
            connection = connections.get(delivery.channel[start:])
            if connection is not None:
                try:
                    connection.deliver(delivery.message, delivery.headers)
                except Exception:
                    logger.exception("a message for %s could not be handled", delivery.channel)
            elif delivery.channel[start:] == SHARED:
                await self._from_many(delivery)
            elif delivery.channel[start:] == QUESTIONS:
                self._questions.hear(delivery)
            elif self.elsewhere is not None and delivery.channel[start:] != ALIVE:
                self.elsewhere(delivery)
            elif delivery.headers is not None:
                if delivery.channel[start:] == ALIVE:
                    self._hosts.hear(delivery.headers, delivery.message, asyncio.get_running_loop().time())
                    if self.elsewhere is not None:  # who asks is answered once
                        self.elsewhere(Delivery(delivery.channel, {}, {"lease": delivery.headers.get("lease")}))
                    continue
                if "flow" in delivery.headers:
                    self._tell_gone(delivery.headers["flow"])
                instance = delivery.headers.get("lease")
                if instance and delivery.headers.get("epoch"):
                    # It was made again too late: others have dealt with the end of its connection.
                    self._hosts.dismiss(instance)
                self._states.hear_late(delivery.channel[start:], delivery.headers)

    def _tell_gone(self, flow: str) -> None:
        """Tell the producer of a response that nobody is there to take it."""
        try:
            self._uplink.put(self._layer.prepare(flow, {"closed": True}))
        except InvalidName as error:
            logger.error("the producer of a response to a client that left hears nothing: %s", error)

    async def _to_group(self, delivery: Delivery) -> None:
        message = delivery.message
        broadcast: Broadcast | None = None
        try:
            if "type" in message:
                trace = spans.passed_on(delivery.headers) if tracing.is_on else None
                broadcast = Broadcast(self._layer, self._uplink, asyncio.get_running_loop().time(), message, trace)
            else:
                reply = Reply(message)
        except BadReply as error:
            logger.error("a message to a group was ignored: %s", error)
            return
        gone = []
        portion = MEMBERS_AT_A_TIME if broadcast is None else EVENTS_AT_A_TIME
        members = list(delivery.members or ())
        connection_of = self._connections.get
        for start in range(0, len(members), portion):
            if start:
                await asyncio.sleep(0)
            for local in members[start : start + portion]:
                connection = connection_of(local)
                if connection is None:
                    gone.append(local)
                    continue
                try:
                    if broadcast is not None:
                        connection.take_shared(broadcast)
                    else:
                        connection.apply(reply)
                except Exception:
                    logger.exception("a message for a member of a group could not be handled")
            if broadcast is not None:
                broadcast.send()
        self._facts.deliveries += len(members) - len(gone)
        if gone and self.elsewhere is not None:
            self.elsewhere(Delivery(delivery.channel, message, delivery.headers, gone))
        elif gone:
            self._departures.add([self._name + local for local in gone])

    async def _from_many(self, delivery: Delivery) -> None:
        """Take a message that the applications of several connections say in the same words."""
        message = delivery.message
        if self.elsewhere is not None:
            self.elsewhere(delivery)
        try:
            reply = Reply(message["reply"])
        except BadReply as error:
            logger.error("a reply to %d WebSockets was ignored: %s", len(message["to"]), error)
            return
        for count, (local, epoch, turn) in enumerate(message["to"], 1):
            connection = self._connections.get(local)
            if connection is None:
                continue
            try:
                connection.hear_shared(reply, epoch, turn)
            except Exception:
                logger.exception("a message for %s could not be handled", self._name + local)
            if count % MEMBERS_AT_A_TIME == 0:
                await asyncio.sleep(0)


def next_limit(limit: int, deliveries: list[Delivery]) -> int:
    """Number of messages to receive next, from the number and size of the last ones.

    A batch is in memory three times while it is taken apart, and large messages may have gathered. Under load batches
    are of all sizes, and one that is cut off costs a round trip more: it takes a very small one to lower the limit.
    """
    count = len(deliveries)
    if count < limit:
        return max(LEAST_BATCH, limit // 2) if count < max(2, limit // 16) else limit
    contents = (delivery.message.get(key) for delivery in deliveries for key in ("content", "text", "bytes"))
    size = sum(len(content) for content in contents if isinstance(content, (bytes, str)))
    if size <= BATCH_BYTES // 2:
        return min(BATCH, limit * 2)
    return max(LEAST_BATCH, limit * BATCH_BYTES // size) if size > BATCH_BYTES else limit
