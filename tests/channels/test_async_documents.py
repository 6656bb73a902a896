"""The guide ``docs/async.md`` does what it says."""

from __future__ import annotations

import threading
from typing import Any

from django.contrib.auth.models import User

from channels.runtime.hooks import DjangoHook
from channels.runtime.sync_threads import SyncThreads
from routing import Router
from workers import Worker

from .documents import run_examples


def test_the_guide(layer: Any, database: None, eventually: Any) -> None:
    routes = run_examples("async.md", "guide")["channel_routing"]
    User.objects.create_user("ada")
    worker = Worker(layer, Router(routes), hooks=[DjangoHook()], sync_side=SyncThreads(2))
    thread = threading.Thread(target=worker.run)
    thread.start()
    heard: list[Any] = []

    def hear(channel: str) -> Any:
        heard.clear()
        return eventually(lambda: heard.extend(layer.receive_batch([channel], timeout=1)) or heard, channel)[0]

    def say(kind: str, path: str, **content: Any) -> None:
        layer.send(f"websocket.{kind}", {"reply_channel": "daphne.test!one", "path": path, "order": 1, **content})

    try:
        say("connect", "/rates/")
        assert hear("daphne.test!").message == {"accept": True}
        say("receive", "/rates/", text="CHF")
        assert hear("daphne.test!").message == {"text": "CHF 0.94"}

        layer.send("market.close", {})
        assert [hear("daphne.test!").message["text"] for _ in range(2)] == ["closing in a moment", "closed"]
        say("disconnect", "/rates/", code=1000)
        eventually(lambda: layer.group_channels("traders") == [], "the group to be left")

        for number in (1, 2):
            say("receive", "/orders/", text="")
            assert hear("daphne.test!").message == {"text": f"somebody: order {number} at 0.94"}

        layer.send("rename", {"old": "ada", "new": "grace"})
        assert hear("renamed").message == {"id": User.objects.get(username="grace").pk}
    finally:
        worker.stop()
        thread.join(20)
    assert not thread.is_alive()
