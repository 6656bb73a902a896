"""Messages that go on while servers are killed or take each other's place."""

from __future__ import annotations

import asyncio
import threading
import time
from collections import Counter
from collections.abc import Sequence

from channel_layer.delivery import Delivery
from channel_layer.exceptions import LayerUnavailable
from channel_layer.redis import RedisChannelLayer
from tests.conftest import wait_until

from .conftest import MakeClusterLayer, MakeRedisLayer

COUNT = 200
"""Messages that show that things go on."""


class Traffic:
    """One thread sends numbers to some channels in turn, a thread and an event loop receive them.

    Attributes:
        got: how often each number came.
        last: time at which a number came last, by channel.
        acknowledged: numbers that were sent without an error.
        doubtful: numbers of which the sender does not know.
    """

    def __init__(self, make: MakeRedisLayer | MakeClusterLayer, channels: Sequence[str], **options: object) -> None:
        self.sender: RedisChannelLayer = make(**options)
        self.readers: list[RedisChannelLayer] = [make(**options) for _ in range(2)]
        self.got: Counter[int] = Counter()
        self.last: dict[str, float] = {}
        self.acknowledged: set[int] = set()
        self.doubtful: set[int] = set()
        self._channels = channels
        self._end = threading.Event()
        works = (self._send, self._read, lambda: asyncio.run(self._aread()))
        self._threads = [threading.Thread(target=work, daemon=True) for work in works]

    def __enter__(self) -> Traffic:
        for thread in self._threads:
            thread.start()
        self.goes_on()
        return self

    def __exit__(self, *_: object) -> None:
        self._end.set()
        for thread in self._threads:
            thread.join(30)

    def goes_on(self) -> float:
        """Wait until messages have come that were sent from now on, on each channel; returns how long that took."""
        began, before = time.monotonic(), len(self.got)
        wait_until(
            lambda: (
                len(self.got) > before + COUNT
                and all(self.last.get(channel, 0.0) > began for channel in self._channels)
            ),
            "traffic on all channels",
        )
        return time.monotonic() - began

    def check(self) -> None:
        """After the end: nothing has come twice, and whatever has not come is counted."""
        for rest in iter(lambda: self.readers[0].receive_batch(self._channels, limit=500), []):
            self.got.update(item.message["n"] for item in rest)
        assert max(self.got.values()) == 1
        assert len(self.doubtful) == self.sender.counters.possible_losses
        lost = len(self.acknowledged - set(self.got))
        assert lost <= sum(layer.counters.possible_losses for layer in self.readers)

    def _send(self) -> None:
        number = 0
        while not self._end.is_set():
            number += 1
            try:
                self.sender.send(self._channels[number % len(self._channels)], {"n": number})
                self.acknowledged.add(number)
            except LayerUnavailable as error:
                if error.uncertain:
                    self.doubtful.add(number)
                time.sleep(0.01)

    def _take(self, deliveries: Sequence[Delivery]) -> None:
        for item in deliveries:
            self.got[item.message["n"]] += 1
            self.last[item.channel] = time.monotonic()

    def _read(self) -> None:
        while not self._end.is_set():
            try:
                self._take(self.readers[0].receive_batch(self._channels, timeout=0.5))
            except LayerUnavailable:
                time.sleep(0.01)

    async def _aread(self) -> None:
        while not self._end.is_set():
            try:
                self._take(await self.readers[1].areceive_batch(self._channels, timeout=0.5))
            except LayerUnavailable:
                await asyncio.sleep(0.01)
        await self.readers[1].aclose()
