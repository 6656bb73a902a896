"""The async forms, which do what the sync forms do and never hold up the event loop."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Coroutine
from typing import Any

import pytest

from ..delivery import Delivery
from ..exceptions import ChannelFull
from ..layer import ChannelLayer
from .groups import addressees
from .messages import LARGE_AND_SMALL
from .tools import PATIENCE, MakeLayer, Tools, numbers


def run(main: Coroutine[Any, Any, None], *layers: ChannelLayer) -> None:
    """Run a test's coroutine in a loop of its own and close the layers' async side in it."""

    async def closing() -> None:
        try:
            await asyncio.wait_for(main, 4 * PATIENCE)
        finally:
            for layer in layers:
                await layer.aclose()

    asyncio.run(closing())


async def gather(layer: ChannelLayer, *channels: str, count: int = 1, limit: int = 10) -> list[Delivery]:
    """Receive ``count`` deliveries in batches."""
    taken: list[Delivery] = []
    async with asyncio.timeout(PATIENCE):
        while len(taken) < count:
            taken += await layer.areceive_batch(channels, limit=min(limit, count - len(taken)), timeout=1)
    return taken


class AsyncRules(Tools):
    """Async forms of sending, receiving and groups."""

    def test_a_message_is_sent_and_received(self, layer: ChannelLayer) -> None:
        async def main() -> None:
            await layer.asend("async", {"n": 1, "b": b"\xff"})
            assert await layer.areceive(["async"]) == ("async", {"n": 1, "b": b"\xff"})
            assert await layer.areceive(["async"], timeout=0) == (None, None)
            assert await layer.areceive(["async"], timeout=0.05) == (None, None)
            assert await layer.areceive_batch(["async"]) == []

        run(main(), layer)

    def test_sync_and_async_sides_meet(self, make_layer: MakeLayer) -> None:
        here, there = make_layer(), make_layer()

        async def main() -> None:
            await here.asend("there", {"n": 1})
            assert self.take(there, "there") == [("there", {"n": 1})]
            there.send("here!a", {"n": 2})
            assert await here.areceive(["here!"]) == ("here!a", {"n": 2})

        run(main(), here)

    def test_batches_keep_order_and_headers(self, layer: ChannelLayer) -> None:
        async def main() -> None:
            items = [layer.prepare("batch", {"n": n}, {"turn": n}) for n in range(50)]
            assert await layer.asend_batch(items) == []
            taken = await gather(layer, "batch", count=50, limit=8)
            assert numbers(taken) == list(range(50))
            assert [item.headers for item in taken] == [{"turn": n} for n in range(50)]

        run(main(), layer)

    def test_large_messages_keep_content_and_order_among_small_ones(self, layer: ChannelLayer) -> None:
        async def main() -> None:
            items = [layer.prepare("sizes", content) for content in LARGE_AND_SMALL * 2]
            assert await layer.asend_batch(items) == []
            taken = await gather(layer, "sizes", count=len(items), limit=3)
            assert [item.message for item in taken] == LARGE_AND_SMALL * 2

        run(main(), layer)

    def test_the_age_of_the_oldest_message_tells_what_was_taken(self, layer: ChannelLayer) -> None:
        async def main() -> None:
            if await layer.aoldest_age("aged") is None:
                pytest.skip("this layer cannot tell")
            assert await layer.aoldest_age("aged") == 0
            await layer.asend("aged", {"n": 1})
            self.wait(1.2)
            await layer.asend("aged", {"n": 2})
            age = await layer.aoldest_age("aged")
            assert age is not None
            assert 1 <= age < 60
            taken = await gather(layer, "aged")
            younger = await layer.aoldest_age("aged")
            assert younger is not None
            assert younger <= age - 1
            layer.put_back("aged", taken)
            again = await layer.aoldest_age("aged")
            assert again is not None
            assert age <= again < 60
            await gather(layer, "aged", count=2)
            assert await layer.aoldest_age("aged") == 0

        run(main(), layer)

    def test_sends_that_were_started_in_order_arrive_in_order(self, layer: ChannelLayer) -> None:
        async def main() -> None:
            for n in range(30):
                await layer.asend("process!a", {"n": n})
            assert numbers(await gather(layer, "process!", count=30)) == list(range(30))

        run(main(), layer)

    def test_a_full_channel_refuses(self, make_layer: MakeLayer) -> None:
        layer = make_layer(capacity=1)

        async def main() -> None:
            await layer.asend("small", {"n": 1})
            with pytest.raises(ChannelFull, match="'small'"):
                await layer.asend("small", {"n": 2})
            item = layer.prepare("small", {"n": 3})
            assert await layer.asend_batch([item]) == [item]

        run(main(), layer)

    def test_groups_work(self, layer: ChannelLayer) -> None:
        async def main() -> None:
            await layer.agroup_add("group", "process!a")
            await layer.agroup_add("group", "process!b")
            await layer.agroup_add("group", "process!c")
            await layer.agroup_discard("group", "process!c")
            await layer.asend_group("group", {"n": 1})
            [delivery] = await gather(layer, "process!")
            assert addressees([delivery]) == [{"process!a", "process!b"}]
            await layer.asend_group("group", {"n": 2})
            taken = [await layer.areceive(["process!"]) for _ in range(2)]
            assert sorted(str(channel) for channel, _ in taken) == ["process!a", "process!b"]
            await layer.aforget(["process!a"])
            assert layer.group_channels("group") == ["process!b"]

        run(main(), layer)

    def test_a_waiting_receiver_does_not_delay_a_send(self, layer: ChannelLayer) -> None:
        async def main() -> None:
            waiting = asyncio.create_task(layer.areceive_batch(["awaited"], timeout=2 * PATIENCE))
            elsewhere = asyncio.create_task(layer.areceive_batch(["never"], timeout=2 * PATIENCE))
            await asyncio.sleep(0.05)
            async with asyncio.timeout(PATIENCE):
                await layer.asend("other", {"n": 0})
                await layer.asend("awaited", {"n": 1})
                assert numbers(await waiting) == [1]
            elsewhere.cancel()

        run(main(), layer)

    def test_a_waiting_receiver_does_not_hold_up_the_loop(self, layer: ChannelLayer) -> None:
        async def main() -> None:
            waiting = asyncio.create_task(layer.areceive_batch(["never"], timeout=0.5))
            turns = 0
            while not waiting.done():
                await asyncio.sleep(0.01)
                turns += 1
            assert waiting.result() == []
            assert turns >= 10

        run(main(), layer)

    def test_a_send_from_another_thread_wakes_a_waiting_receiver(self, make_layer: MakeLayer) -> None:
        here, there = make_layer(), make_layer()
        rounds = 20

        def echo() -> None:
            for _ in range(rounds):
                [(_, message)] = self.take(there, "ping")
                there.send("pong!x", message)

        async def main() -> None:
            thread = threading.Thread(target=echo, daemon=True)
            thread.start()
            for n in range(rounds):
                await here.asend("ping", {"n": n})
                async with asyncio.timeout(PATIENCE):
                    [delivery] = await here.areceive_batch(["pong!"], timeout=2 * PATIENCE)
                assert numbers([delivery]) == [n]
            await asyncio.to_thread(thread.join, PATIENCE)

        run(main(), here)

    def test_a_receiver_that_was_cancelled_takes_nothing_that_is_sent_later(self, layer: ChannelLayer) -> None:
        async def main() -> None:
            for n in range(5):
                waiting = asyncio.create_task(layer.areceive_batch(["awaited"], timeout=2 * PATIENCE))
                await asyncio.sleep(0.02)
                waiting.cancel()
                await asyncio.wait([waiting])
                await layer.asend("awaited", {"n": n})
                assert numbers(await gather(layer, "awaited")) == [n]

        run(main(), layer)

    def test_it_works_in_one_event_loop_after_another(self, layer: ChannelLayer) -> None:
        async def main(n: int) -> None:
            await layer.asend("loops", {"n": n})
            assert await layer.areceive(["loops"]) == ("loops", {"n": n})

        for n in range(3):
            run(main(n), layer)

    def test_who_stops_receiving_leaves_what_comes_to_others(self, make_layer: MakeLayer) -> None:
        old, new = make_layer(), make_layer()

        async def stop() -> None:
            assert await old.areceive_batch(["process!"], timeout=0.05) == []
            await old.astop_receiving(["process!"])
            await new.agroup_add("group", "process!a")
            await new.asend_group("group", {"n": 1})
            await new.asend("process!a", {"n": 2})
            # The loop goes on, and nobody receives in it.
            taken = await asyncio.to_thread(self.take, new, "process!", count=2)
            assert sorted(numbers(taken)) == [1, 2]

        run(stop(), old, new)

    def test_it_works_in_several_event_loops_at_the_same_time(self, layer: ChannelLayer) -> None:
        """A worker and an interface server in one process share a layer, and each has a loop."""
        together = threading.Barrier(2)
        errors: list[BaseException] = []

        async def main(name: str) -> None:
            reader = f"loop.{name}!"
            receiving = asyncio.create_task(gather(layer, reader, count=60))
            await asyncio.to_thread(together.wait, PATIENCE)
            for n in range(30):
                await layer.agroup_add("loops", f"{reader}{n}")
                await asyncio.gather(layer.asend(f"{reader}a", {"n": n}), layer.asend(f"{reader}b", {"n": n}))
                await layer.agroup_discard("loops", f"{reader}{n}")
            assert sorted(numbers(await receiving)) == sorted([*range(30), *range(30)])

        def in_a_thread(name: str) -> None:
            try:
                run(main(name), layer)
            except BaseException as error:
                errors.append(error)

        threads = [threading.Thread(target=in_a_thread, args=(name,)) for name in ("one", "other")]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join(5 * PATIENCE)
        assert errors == []
        assert not any(thread.is_alive() for thread in threads)
