"""The guide to data binding does what it says."""

from __future__ import annotations

import json
from typing import Any

from django.contrib.auth.models import User

from ..documents import run_examples
from ..driving import Socket, cookie_of, logged_in, working
from .conftest import SHELVES, tables


def test_the_guide(layer: Any, hear: Any) -> None:
    names = run_examples("binding.md", f"{SHELVES}.guide")
    item = names["Item"]
    ada = User.objects.create_user("ada")
    page = logged_in(ada)
    cookie = cookie_of(page)

    def actions(frames: list[Any]) -> list[Any]:
        payloads = [json.loads(frame["text"])["payload"] for frame in frames]
        return [(payload["action"], payload["pk"], payload["model"], payload["data"]) for payload in payloads]

    with tables(item), working(layer, names["channel_routing"]):
        kitchen, cellar = Socket(layer, "one", path="/items/kitchen/"), Socket(layer, "two", path="/items/cellar/")
        for socket in (kitchen, cellar):
            assert socket.connect(cookie) == [{"accept": True}]
        tea = item.objects.create(room="kitchen", name="Tea")
        label = "shelves.item"
        assert actions(kitchen.heard()) == [("create", tea.pk, label, {"name": "Tea", "done": False})]

        update = {"action": "update", "pk": tea.pk, "data": {"done": True, "room": "cellar"}}
        heard = kitchen.say({"stream": "items", "payload": update})
        assert actions(heard) == [("update", tea.pk, label, {"name": "Tea", "done": True})]

        tea.refresh_from_db()
        tea.room = "cellar"
        tea.save()
        moved = {"name": "Tea", "done": True}
        heard = layer.receive_batch(["daphne.test!"], limit=10)
        assert [(set(each.members), actions([each.message])[0]) for each in heard] == [
            ({"one"}, ("delete", tea.pk, label, moved)),
            ({"two"}, ("create", tea.pk, label, moved)),
        ]

        cellar.say({"stream": "careful", "payload": {"action": "create", "data": {"name": " Wine "}}})
        assert not cellar.failed
        assert item.objects.get(name="Wine").room == "cellar"

        stranger = Socket(layer, "three", path="/items/kitchen/")
        stranger.connect()
        stranger.say({"stream": "items", "payload": {"action": "delete", "pk": tea.pk}})
        assert not stranger.failed
        assert item.objects.filter(pk=tea.pk).exists()

        hear("noise")
        item.objects.create(room="nowhere", name="Jam")
        (message,) = hear()
        assert (message["stream"], message["payload"]["data"]) == ("noise", {"name__upper": "JAM"})
