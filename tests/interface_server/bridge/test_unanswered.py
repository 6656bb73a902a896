"""Why a message got no answer, in the log."""

from __future__ import annotations

import asyncio

import pytest

from channel_layer.exceptions import LayerUnavailable
from channel_layer.memory import MemoryChannelLayer
from interface_server.bridge.unanswered import Unanswered, reason
from interface_server.gateway import Gateway
from interface_server.options import Options
from interface_server.websocket.connection import WebSocketConnection
from tests.interface_server.fakes import FakeSocket, scope
from tests.interface_server.helpers import become

LAYER = MemoryChannelLayer()


@pytest.mark.parametrize(
    ("age", "waited", "said"),
    [
        (
            5.0,
            5,
            "has waited for 5 s, so no worker listens there or all are busy; start one (python manage.py runworker)",
        ),
        (9.0, 60, "has waited for 9 s, so no worker"),
        (0.0, 5, "a worker took its message from c; see its log, and whether the consumer answers in every case"),
        (0.5, 5, "a worker took its message from c"),
        (0.0, 60, "none waits on c now, but it expired meanwhile; see whether a worker runs, and its log"),
        (None, 5, "the channel layer cannot say whether a worker takes messages from c"),
    ],
)
def test_what_to_look_at(age: float | None, waited: float, said: str) -> None:
    assert said in reason("c", age, waited, LAYER)


class Counting(MemoryChannelLayer):
    """Counts the questions; fails if told so."""

    def __init__(self, fails: bool = False) -> None:
        super().__init__()
        self.questions = 0
        self.fails = fails

    async def aoldest_age(self, channel: str) -> float | None:
        self.questions += 1
        if self.fails:
            raise LayerUnavailable("here", "gone")
        return await super().aoldest_age(channel)


async def told(unanswered: Unanswered) -> None:
    unanswered.ask()
    assert unanswered._task is not None
    await unanswered._task


@pytest.mark.parametrize("fails", [False, True])
def test_the_layer_is_asked_once_for_all_of_a_channel(fails: bool, caplog: pytest.LogCaptureFixture) -> None:
    async def run() -> None:
        layer = Counting(fails)
        unanswered = Unanswered(layer)
        unanswered.ask()  # nothing to ask
        for number in range(3):
            unanswered.report(f"no answer {number}", "c", 5)
        await told(unanswered)
        assert layer.questions == 1
        unanswered.close()

    asyncio.run(run())
    assert [text.partition(":")[0] for text in caplog.messages] == ["no answer 0", "no answer 1", "no answer 2"]
    assert ("cannot say" in caplog.text) is fails


def test_a_handshake_that_no_worker_takes_says_so(caplog: pytest.LogCaptureFixture) -> None:
    async def run() -> None:
        gateway = Gateway(MemoryChannelLayer(), Options(accept_timeout=0.1))
        gateway.start()
        handshake = scope("websocket", path="/p", scheme="ws", subprotocols=())
        WebSocketConnection(gateway.context, handshake, FakeSocket()).open()
        async with asyncio.timeout(30):
            await become(lambda: "in time" in caplog.text)
        await gateway.close()

    asyncio.run(run())
    [text] = [text for text in caplog.messages if "in time" in text]
    assert text.startswith("no consumer accepted the WebSocket /p in time: the oldest message on websocket.connect has")
