"""Transactions and errors that Sentry gets, from the real package with a transport that keeps them."""

from __future__ import annotations

import asyncio
import contextvars
import sys
import threading
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from typing import Any

import pytest
import sentry_sdk
from django.contrib.auth.models import AnonymousUser, User
from django.http import HttpRequest, HttpResponse
from django.test import override_settings
from django.urls import path
from django.utils.functional import SimpleLazyObject
from sentry_sdk.envelope import Envelope
from sentry_sdk.integrations.django import DjangoIntegration
from sentry_sdk.transport import Transport
from websockets.sync.client import connect

from channel_layer.channel import Message
from channel_layer.memory import MemoryChannelLayer
from channels import Channel, route
from channels.consumer import SyncConsumer
from channels.generic.websocket import AsyncWebsocketConsumer, WebsocketConsumer
from channels.routing import ChannelNameRouter, ProtocolTypeRouter, URLRouter
from channels.runtime.hooks import DjangoHook, on_answer, on_background, project_hooks
from channels.runtime.sentry import SentryHook, is_used
from channels.test import ChannelLiveServerTestCase
from tests.channels.documents import run_examples
from tests.conftest import wait_until
from workers.exceptions import ConsumeLater

TRACE = "0af7651916cd43dd8448eb211c80319c"
FROM_PAGE = {"sentry-trace": f"{TRACE}-b7ad6b7169203331-1"}


class Kept(Transport):
    """Keeps what would be sent."""

    def __init__(self) -> None:
        super().__init__()
        self.events: list[Any] = []

    def capture_envelope(self, envelope: Envelope) -> None:
        self.events += [event for item in envelope.items if (event := item.get_event() or item.get_transaction_event())]

    def of(self, kind: str | None, channel: str) -> list[Any]:
        found = [event for event in self.events if event.get("type") == kind]
        return [event for event in found if event.get("tags", {}).get("channel") == channel]

    def transaction(self, channel: str) -> Any:
        """The one transaction of a channel, once it is there."""
        wait_until(lambda: self.of("transaction", channel), f"a transaction of {channel}")
        [found] = self.of("transaction", channel)
        return found

    def error(self, channel: str) -> Any:
        wait_until(lambda: self.of(None, channel), f"an error of {channel}")
        [found] = self.of(None, channel)
        return found


@pytest.fixture(autouse=True)
def sentry() -> Iterator[Kept]:
    kept = Kept()
    sentry_sdk.init(
        dsn="http://key@127.0.0.1/1", transport=kept, traces_sample_rate=1.0, data_collection={"user_info": True},
        auto_enabling_integrations=False, integrations=[DjangoIntegration()], auto_session_tracking=False,
    )  # fmt: skip
    yield kept
    on_answer.clear()
    on_background.clear()
    sentry_sdk.get_client().close(timeout=0)
    sentry_sdk.get_global_scope().set_client(None)


def ada() -> User:
    return User(pk=7, username="ada", email="ada@example.org")


def join(message: Any) -> None:
    message.reply_channel.send({"accept": True})


def say(message: Any) -> None:
    message.user = User(pk=int(message["text"]), username=f"user-{message['text']}")
    if message["text"] == "13":
        raise ValueError("on purpose")
    message.reply_channel.send({"text": message["text"]})


async def say_later(message: Any) -> None:
    message.user = ada()
    await asyncio.sleep(0)
    message.reply_channel.send({"text": "later"})


class Hosted(AsyncWebsocketConsumer):
    async def connect(self) -> None:
        self.scope["user"] = ada()
        await self.accept()

    async def receive(self, text_data: Any = None, bytes_data: Any = None) -> None:
        if text_data == "fail":
            raise ValueError("on purpose")
        sentry_sdk.capture_message("said")
        await self.send("heard")


class HostedSync(WebsocketConsumer):
    def receive(self, text_data: Any = None, bytes_data: Any = None) -> None:
        sentry_sdk.capture_message("said by a thread")
        self.send("heard")


class Thumbnails(SyncConsumer):
    def make(self, event: Any) -> None:
        if event.get("fail"):
            raise ValueError("on purpose")
        sentry_sdk.capture_message("made")


def view(request: HttpRequest, number: int) -> HttpResponse:
    request.user = ada()
    if "fail" in request.GET:
        raise ValueError("on purpose")
    return HttpResponse("ok")


urlpatterns = [path("page/<int:number>/", view)]

application = ProtocolTypeRouter(
    {
        "websocket": URLRouter([path("hosted/", Hosted.as_asgi()), path("sync/", HostedSync.as_asgi())]),
        "channel": ChannelNameRouter({"thumbnails": Thumbnails.as_asgi()}),
    }
)
ROUTING = [
    route("websocket.connect", join, path=r"^/(said|later)/"),
    route("websocket.receive", say, path=r"^/said/"),
    route("websocket.receive", say_later, path=r"^/later/"),
]
LAYERS = {
    "default": {
        "BACKEND": "channel_layer.memory.MemoryChannelLayer",
        "ROUTING": f"{__name__}.ROUTING",
        "TEST_CONFIG": {},
    }
}


@override_settings(CHANNEL_LAYERS=LAYERS, ASGI_APPLICATION=f"{__name__}.application", ROOT_URLCONF=__name__)
class SentryTests(ChannelLiveServerTestCase):
    @pytest.fixture(autouse=True)
    def _keep(self, sentry: Kept) -> None:
        self.sentry = sentry

    def exchange(self, where: str, text: str, **options: Any) -> object:
        """Say something, and the answer."""
        with connect(f"{self.live_server_ws_url}/{where}/", **options) as socket:
            socket.send(text)
            return socket.recv(timeout=10)

    def test_a_function_consumer(self) -> None:
        self.exchange("said", "7", additional_headers=FROM_PAGE)
        said = self.sentry.transaction("websocket.receive")
        assert said["transaction"] == f"websocket.receive {__name__}.say"
        assert said["tags"]["route"] == f"{__name__}.say"
        assert said["user"] == {"id": "7", "username": "user-7"}
        assert said["contexts"]["trace"]["op"] == "websocket.server"
        assert said["contexts"]["trace"]["status"] == "ok"
        assert said["contexts"]["trace"]["data"]["url.path"] == "/said/"
        joined = self.sentry.transaction("websocket.connect")
        assert joined["contexts"]["trace"]["trace_id"] == TRACE
        assert "user" not in joined or not joined["user"]

    def test_an_error_in_a_consumer_has_what_its_transaction_has(self) -> None:
        with connect(f"{self.live_server_ws_url}/said/") as socket:
            socket.send("13")
            failed, error = self.sentry.transaction("websocket.receive"), self.sentry.error("websocket.receive")
        assert failed["contexts"]["trace"]["status"] == "internal_error"
        assert error["exception"]["values"][0]["type"] == "ValueError"
        assert error["tags"]["route"] == f"{__name__}.say"
        assert error["user"]["id"] == "13"
        assert error["contexts"]["trace"]["trace_id"] == failed["contexts"]["trace"]["trace_id"]

    def test_an_async_consumer(self) -> None:
        self.exchange("later", "now")
        assert self.sentry.transaction("websocket.receive")["user"]["username"] == "ada"

    def test_a_hosted_consumer(self) -> None:
        self.exchange("hosted", "hello", additional_headers=FROM_PAGE)
        said, note = self.sentry.transaction("websocket.receive"), self.sentry.error("websocket.receive")
        assert said["transaction"] == f"websocket.receive {__name__}.Hosted"
        assert said["user"]["id"] == note["user"]["id"] == "7"
        assert note["contexts"]["trace"]["trace_id"] == said["contexts"]["trace"]["trace_id"]
        joined = self.sentry.transaction("websocket.connect")
        assert joined["tags"]["route"] == f"{__name__}.Hosted"
        assert joined["contexts"]["trace"]["trace_id"] == TRACE
        assert self.sentry.transaction("websocket.disconnect")

    def test_a_hosted_consumer_that_fails(self) -> None:
        with connect(f"{self.live_server_ws_url}/hosted/") as socket:
            socket.send("fail")
            failed, error = self.sentry.transaction("websocket.receive"), self.sentry.error("websocket.receive")
        assert failed["contexts"]["trace"]["status"] == "internal_error"
        assert error["exception"]["values"][0]["value"] == "on purpose"
        assert error["user"]["id"] == "7"

    def test_a_hosted_sync_consumer(self) -> None:
        self.exchange("sync", "hello")
        note = self.sentry.error("websocket.receive")
        assert note["tags"]["route"] == f"{__name__}.HostedSync"
        trace = self.sentry.transaction("websocket.receive")["contexts"]["trace"]["trace_id"]
        assert note["contexts"]["trace"]["trace_id"] == trace

    def test_background_consumers(self) -> None:
        Channel("thumbnails").send({"type": "make"})
        made, note = self.sentry.transaction("thumbnails"), self.sentry.error("thumbnails")
        assert made["contexts"]["trace"]["op"] == "queue.process"
        assert note["contexts"]["trace"]["trace_id"] == made["contexts"]["trace"]["trace_id"]

    def test_a_background_consumer_that_fails(self) -> None:
        Channel("thumbnails").send({"type": "make", "fail": True})
        failed, error = self.sentry.transaction("thumbnails"), self.sentry.error("thumbnails")
        assert failed["contexts"]["trace"]["status"] == "internal_error"
        assert error["exception"]["values"][0]["value"] == "on purpose"

    def test_a_request_has_the_name_that_sentry_gives_to_views(self) -> None:
        urllib.request.urlopen(urllib.request.Request(f"{self.live_server_url}/page/3/", headers=FROM_PAGE), timeout=10)
        page = self.sentry.transaction("http.request")
        assert page["transaction"] == "/page/{number}/"
        assert page["user"]["id"] == "7"
        assert page["contexts"]["trace"]["trace_id"] == TRACE
        assert page["contexts"]["trace"]["op"] == "http.server"

    def test_an_error_in_a_view_is_reported_once(self) -> None:
        with pytest.raises(urllib.error.HTTPError) as caught:
            urllib.request.urlopen(f"{self.live_server_url}/page/3/?fail", timeout=10)
        caught.value.close()
        error, page = self.sentry.error("http.request"), self.sentry.transaction("http.request")
        assert error["user"]["id"] == "7"
        assert error["exception"]["values"][0]["value"] == "on purpose"
        assert page["transaction"] == "/page/{number}/"


def process(hook: SentryHook, number: int, meet: Any) -> None:
    """Deal with a message of a user while others do the same with theirs."""
    message: Any = Message({}, f"channel-{number}", MemoryChannelLayer())
    hook.before(message)
    hook.matched(message, say)
    message.user = User(pk=number, username=f"user-{number}")
    sentry_sdk.set_tag(f"only-{number}", "yes")
    meet()
    sentry_sdk.capture_message("in the middle")
    meet()
    hook.after(message, None)
    sentry_sdk.capture_message("behind")


def expect_separate(sentry: Kept, numbers: range) -> None:
    for number in numbers:
        for event in (*sentry.of(None, f"channel-{number}"), sentry.transaction(f"channel-{number}")):
            assert event["user"]["id"] == str(number)
            assert [tag for tag in event["tags"] if tag.startswith("only-")] == [f"only-{number}"]
    behind = [event for event in sentry.events if event.get("message") == "behind"]
    assert len(behind) == len(numbers)
    assert all("channel" not in event.get("tags", {}) and not event.get("user") for event in behind)


def test_threads_know_nothing_of_each_others_users(sentry: Kept) -> None:
    numbers, barrier = range(4), threading.Barrier(4, timeout=30)
    with ThreadPoolExecutor(4) as threads:
        list(threads.map(lambda number: process(SentryHook(), number, barrier.wait), numbers))
    expect_separate(sentry, numbers)


def test_tasks_know_nothing_of_each_others_users(sentry: Kept) -> None:
    hook = SentryHook()

    async def deal_with(number: int) -> None:
        message: Any = Message({}, f"channel-{number}", MemoryChannelLayer())
        hook.before(message)
        hook.matched(message, say)
        message.user = User(pk=number, username=f"user-{number}")
        sentry_sdk.set_tag(f"only-{number}", "yes")
        await asyncio.sleep(0)
        sentry_sdk.capture_message("in the middle")
        await asyncio.sleep(0)
        hook.after(message, None)
        sentry_sdk.capture_message("behind")

    async def all_of_them() -> None:
        await asyncio.gather(*map(deal_with, range(4)))

    asyncio.run(all_of_them())
    expect_separate(sentry, range(4))


def test_a_message_that_ends_in_another_context_has_one_transaction(sentry: Kept) -> None:
    hook, message = SentryHook(), Message({}, "there", MemoryChannelLayer())
    hook.before(message)
    hook.matched(message, say)
    contextvars.copy_context().run(hook.after, message, ConsumeLater())  # as coroutines do
    assert sentry.transaction("there")["contexts"]["trace"]["status"] == "ok"  # a signal is no failure


def ask() -> User:
    pytest.fail("somebody asked for the user")


@pytest.mark.parametrize(
    "make_user",
    [AnonymousUser, lambda: SimpleLazyObject(ask), lambda: None, lambda: "ada"],
    ids=["anonymous", "not loaded", "none", "a text"],
)
def test_a_user_is_not_looked_for(sentry: Kept, make_user: Callable[[], Any]) -> None:
    hook, message = SentryHook(), Message({}, "there", MemoryChannelLayer())
    message.user = make_user()  # type: ignore[attr-defined]
    hook.before(message)
    hook.matched(message, say)
    hook.after(message, None)
    assert not sentry.transaction("there").get("user")


@pytest.mark.parametrize(
    "options",
    [{"data_collection": {"provided_by_user": True, "user_info": False}, "send_default_pii": True}, {}],
    ids=["refused", "by default"],
)
def test_who_it_is_stays_here_unless_the_project_wants_it_sent(sentry: Kept, options: dict[str, Any]) -> None:
    sentry_sdk.get_client().options.update({"data_collection": None, "send_default_pii": None} | options)
    hook, message = SentryHook(), Message({}, "there", MemoryChannelLayer())
    message.user = ada()  # type: ignore[attr-defined]
    hook.before(message)
    hook.matched(message, say)
    hook.after(message, None)
    assert not sentry.transaction("there").get("user")


def test_the_guide(monkeypatch: pytest.MonkeyPatch) -> None:
    # Without changing what else is installed here, for the tests behind this one.
    monkeypatch.setattr(sentry_sdk, "init", partial(sentry_sdk.init, auto_enabling_integrations=False))
    run_examples("sentry.md", "guide")
    assert not is_used()  # without an address to send to


def test_without_sentry_there_is_no_hook(monkeypatch: pytest.MonkeyPatch) -> None:
    assert [type(hook) for hook in project_hooks()] == [SentryHook, DjangoHook]
    sentry_sdk.get_global_scope().set_client(None)
    assert [type(hook) for hook in project_hooks()] == [DjangoHook]
    monkeypatch.delitem(sys.modules, "sentry_sdk")
    assert [type(hook) for hook in project_hooks()] == [DjangoHook]
