"""Servers that end, freeze, run out of memory or cut connections, and processes that disappear."""

from __future__ import annotations

import json
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Collection, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, contextmanager
from pathlib import Path

import pytest

from channel_layer.conformance import Tools
from channel_layer.conformance.tools import numbers
from channel_layer.delivery import Delivery, LastWill, Outgoing
from channel_layer.exceptions import ChannelFull, LayerUnavailable, LayerUnusable
from channel_layer.outcome import Fate, fates
from channel_layer.rabbitmq import RabbitmqChannelLayer, amqp
from channel_layer.rabbitmq.session import version_of
from tests.conftest import running_rabbitmq, wait_until
from tests.fixtures.freezing import frozen
from tests.fixtures.rabbitmq_server import RabbitmqServer

OpenLayer = Callable[..., RabbitmqChannelLayer]

take, take_many = Tools.take, Tools.take_many


def works(call: Callable[[], object]) -> bool:
    try:
        call()
    except LayerUnavailable:
        return False
    return True


def will(layer: RabbitmqChannelLayer, n: int) -> Outgoing:
    item = Outgoing("gone", b"")
    item.last_will = LastWill(f"process!{n}", layer.prepare("gone", {"n": n}))
    return item


@pytest.mark.slow
@pytest.mark.usefixtures("only_durable")
def test_durable_queues_keep_members_and_last_wills_over_a_crash_of_the_server(
    tmp_path: Path, open_layer: OpenLayer
) -> None:
    directory = tmp_path / "broker"
    told: list[Collection[str]] = []
    with running_rabbitmq(directory) as server:
        layer, other = open_layer(server.url, presence=6), open_layer(server.url, presence=6)
        layer.watch_last_wills("process!", told.append)
        layer.group_add("group", "process!a")
        layer.send_batch([will(layer, 1)])
    with running_rabbitmq(directory, server):
        wait_until(lambda: works(lambda: layer.receive_batch(["process!"], timeout=0.1)), "the server to be back")
        wait_until(lambda: layer.group_channels("group") == ["process!a"], "the member to be put back")
        layer.send_group("group", {"n": 2})
        assert take(layer, "process!") == [("process!a", {"n": 2})]
        assert told == []
        wait_until(lambda: works(lambda: other.receive_batch(["other!"], timeout=0.1)), "the other one to be back")
        layer.close()
        found: list[Delivery] = []

        def carried_out() -> bool:
            found.extend(other.receive_batch(["gone"], timeout=0.2))
            other.receive_batch(["other!"], timeout=0.1)  # a process that receives deals with chores
            return bool(found)

        wait_until(carried_out, "the last will")
        assert numbers(found) == [1]


def test_after_a_crash_of_the_server_members_are_put_back_and_last_wills_asked_for(
    tmp_path: Path, open_layer: OpenLayer
) -> None:
    directory = tmp_path / "broker"
    told: list[Collection[str]] = []
    with running_rabbitmq(directory) as server:
        layer = open_layer(server.url)
        layer.watch_last_wills("process!", told.append)
        layer.group_add("group", "process!a")
        layer.send_batch([will(layer, 1)])
        layer.send_group("group", {"n": 1})
        assert take(layer, "process!") == [("process!a", {"n": 1})]
    with pytest.raises(LayerUnavailable) as caught:
        layer.send("somewhere", {})
    assert not caught.value.uncertain
    with running_rabbitmq(directory, server):
        wait_until(lambda: works(lambda: layer.receive_batch(["process!"], timeout=0.1)), "the server to be back")
        wait_until(lambda: layer.group_channels("group") == ["process!a"], "the member to be put back")
        layer.send_group("group", {"n": 2})
        assert take(layer, "process!") == [("process!a", {"n": 2})]
        # None was carried out. All are to be left again, unless the broker permits none but durable queues.
    current = layer._running()._current
    assert current is not None
    assert told == ([] if current.makes_durable else [set()])


@pytest.mark.slow
def test_a_server_that_takes_no_messages_says_why_and_can_be_read(
    server: RabbitmqServer, open_layer: OpenLayer
) -> None:
    layer = open_layer(server.url)
    layer.send_batch([layer.prepare("work", {"n": n}) for n in range(5)])
    server.control("set_vm_memory_high_watermark", "0.000001")

    def refused() -> LayerUnavailable | None:
        try:
            layer.send("work", {"n": 99})
        except LayerUnavailable as error:
            return None if error.uncertain else error
        return None

    error = wait_until(refused, "the alarm to be noticed")
    assert error is not None
    assert "it takes no messages: low on memory" in str(error)
    with pytest.raises(LayerUnavailable, match="it takes no messages"):
        layer.check()
    assert numbers(take(layer, "work", count=5)) == [0, 1, 2, 3, 4]
    server.control("set_vm_memory_high_watermark", "0.9")
    wait_until(lambda: works(layer.check), "the alarm to be over")
    layer.send("work", {"n": 5})
    while numbers(take(layer, "work")) != [5]:  # what was sent before the alarm was known may come now, too
        pass


@pytest.mark.slow
def test_what_a_frozen_server_was_sent_has_an_unknown_fate_and_comes_at_most_once(
    server: RabbitmqServer, open_layer: OpenLayer
) -> None:
    layer = open_layer(server.url)
    layer.send("work", {"n": 0})
    assert numbers(take(layer, "work")) == [0]
    items = [layer.prepare("work", {"n": 1})]
    with frozen(server.pid):
        with pytest.raises(LayerUnavailable) as caught:
            layer.send_batch(items)
        assert fates(items, [], caught.value) == [Fate.UNKNOWN]
        assert not works(lambda: layer.receive_batch(["work"], timeout=10))
    wait_until(lambda: works(layer.check), "the server to be back")
    layer.send("work", {"n": 3})
    seen: list[int] = []
    while 3 not in seen:
        seen += numbers(take(layer, "work"))
    assert seen in ([1, 3], [3])


@pytest.mark.slow
def test_no_message_comes_twice_when_connections_are_cut(server: RabbitmqServer, open_layer: OpenLayer) -> None:
    layers = [open_layer(server.url) for _ in range(2)]
    sender = open_layer(server.url)
    total, seen = 1500, []
    stopping = threading.Event()
    done: list[int] = []

    def read(layer: RabbitmqChannelLayer) -> None:
        while not stopping.is_set():
            try:
                seen.extend(numbers(layer.receive_batch(["work"], limit=7, timeout=0.2)))
            except LayerUnavailable:
                time.sleep(0.01)

    threads = [threading.Thread(target=read, args=(layer,)) for layer in layers for _ in range(2)]
    lost = lambda: sum(layer.counters.possible_losses for layer in layers)  # noqa: E731
    for thread in threads:
        thread.start()
    try:
        for n in range(total):
            if works(lambda n=n: sender.send("work", {"n": n})):  # type: ignore[misc]
                done.append(n)
            if n % 500 == 250:
                server.control("close_all_connections", "cut by a test")
        wait_until(lambda: len(set(done) - set(seen)) <= lost(), "all messages to come, or to be counted as lost")
    finally:
        stopping.set()
        for thread in threads:
            thread.join(30)
    assert len(seen) == len(set(seen))
    assert len(set(done) - set(seen)) <= lost()


KILLED = """
import sys, time
from channel_layer.rabbitmq import RabbitmqChannelLayer
layer = RabbitmqChannelLayer(sys.argv[1], prefix=sys.argv[2])
print([delivery.message["n"] for delivery in layer.receive_batch(["work"], limit=3, timeout=20)], flush=True)
layer.receive_batch(["elsewhere"], timeout=60)
"""


def test_what_a_killed_process_had_not_handed_out_comes_to_others(
    make_layer: Callable[..., RabbitmqChannelLayer], rabbitmq_url: str, prefix: str
) -> None:
    layer = make_layer()
    layer.send_batch([layer.prepare("work", {"n": n}) for n in range(20)])
    command = [sys.executable, "-c", KILLED, rabbitmq_url, prefix]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        taken = json.loads(process.stdout.readline())
        process.kill()
    assert taken == list(range(len(taken)))
    assert numbers(take_many(layer, "work", count=20 - len(taken))) == list(range(len(taken), 20))


@pytest.mark.parametrize(
    ("change", "words"),
    [
        (lambda url: url.replace("guest:guest", "guest:wrong"), "refuses the connection"),
        (lambda url: url.replace("%2F", "nowhere"), "virtual host nowhere refuses the connection"),
    ],
)
def test_a_broker_that_refuses_us_is_named_without_the_password(
    rabbitmq_url: str, change: Callable[[str], str], words: str, open_layer: OpenLayer
) -> None:
    layer = open_layer(change(rabbitmq_url))
    with pytest.raises(LayerUnusable) as caught:
        layer.check()
    assert words in str(caught.value)
    assert "wrong" not in str(caught.value)


@pytest.mark.slow
def test_a_right_that_is_missing_is_named(server: RabbitmqServer, open_layer: OpenLayer) -> None:
    server.control("add_user", "reader", "secret")
    server.control("set_permissions", "reader", "^$", "^$", ".*")
    layer = open_layer(server.url.replace("guest:guest", "reader:secret"))
    with pytest.raises(LayerUnusable, match=r"lacks a right: ACCESS_REFUSED.*#groups.*rabbitmqctl set_permissions"):
        layer.check()
    server.control("set_permissions", "reader", "^millrace:", r"^(millrace:.*|amq\.default)$", "^millrace:")
    wait_until(lambda: works(layer.check), "the right to be granted")
    layer.group_add("group", "process!a")
    layer.send_batch([will(layer, 1)])
    layer.send_group("group", {"n": 1})
    assert take(layer, "process!") == [("process!a", {"n": 1})]


def test_a_queue_of_another_capacity_is_used_as_it_is(
    make_layer: Callable[..., RabbitmqChannelLayer], caplog: pytest.LogCaptureFixture
) -> None:
    old, new = make_layer(capacity=2), make_layer(capacity=3)
    old.send("work", {"n": 1})
    new.send("work", {"n": 2})
    assert len(new.send_batch([new.prepare("work", {"n": 3})])) == 1
    assert numbers(take(new, "work", count=2)) == [1, 2]
    assert "work has other properties than CONFIG asks for" in caplog.text


@contextmanager
def a_cluster(directory: Path) -> Iterator[list[RabbitmqServer]]:
    """Three nodes."""
    with ExitStack() as stack:
        servers = RabbitmqServer.cluster(directory, 3)
        for server in servers:
            stack.enter_context(running_rabbitmq(server.directory, server))
        for server in servers[1:]:
            server.join(servers[0])
        yield servers


@pytest.mark.slow
def test_replicated_channels_outlive_a_node(tmp_path: Path, open_layer: OpenLayer) -> None:
    with a_cluster(tmp_path / "cluster") as servers:
        urls = [server.url for server in servers]
        layers = [open_layer(urls[n:] + urls[:n], queue_type="quorum") for n in range(3)]
        layers[1].group_add("group", "process!a")
        layers[0].send_batch([layers[0].prepare("work", {"n": n}) for n in range(20)])
        servers[0].kill()
        wait_until(lambda: works(layers[0].check), "another node to be used")
        assert sorted(numbers(take(layers[0], "work", count=20))) == list(range(20))
        layers[0].send_group("group", {"n": 1})
        assert take(layers[1], "process!") == [("process!a", {"n": 1})]
        assert layers[2].send_batch([layers[2].prepare("work", {"n": 21})]) == []
        assert numbers(take(layers[1], "work")) == [21]


@pytest.mark.slow
@pytest.mark.parametrize("queues", ["as_permitted", "durable"])
def test_queues_of_a_node_that_is_lost_are_made_on_others(
    queues: str, tmp_path: Path, open_layer: OpenLayer, request: pytest.FixtureRequest
) -> None:
    if queues == "durable":
        request.getfixturevalue("only_durable")
    with a_cluster(tmp_path / "cluster") as servers:
        urls = [server.url for server in servers]
        first, process, sender = (open_layer(urls[n:] + urls[:n]) for n in range(3))
        first.group_add("group", "process!a")  # makes the queues, on the node that will be lost
        current = first._running()._current
        assert current is not None
        if queues == "durable" and version_of(current.version) < (4, 3):
            pytest.skip("before RabbitMQ 4.3 nobody can remove a durable queue of a node that is down")
        first.send_batch([first.prepare("work", {"n": n}) for n in range(3)])
        process.group_add("group", "process!b")
        assert process.receive_batch(["process!"], timeout=0.5) == []
        servers[0].kill()
        wait_until(
            lambda: (
                works(lambda: process.receive_batch(["process!"], timeout=0.1))
                and works(lambda: sender.group_channels("group"))
                and sorted(sender.group_channels("group")) == ["process!a", "process!b"]
            ),
            "the members to be put back",
        )
        sender.send_group("group", {"n": 1})
        assert sorted(found for found, _ in take(process, "process!", count=2)) == ["process!a", "process!b"]

        def is_sent() -> bool:
            try:
                sender.send("work", {"n": 4})
            except (ChannelFull, LayerUnavailable):
                return False
            return True

        wait_until(is_sent, "the channel that nobody reads to be made anew")
        assert numbers(take(process, "work")) == [4]


@pytest.mark.slow
def test_a_queue_that_only_takes_long_to_answer_keeps_its_messages(
    server: RabbitmqServer, open_layer: OpenLayer, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(amqp, "SLOW_SECONDS", 0.05)
    layer = open_layer(server.url)
    layer.send_batch([layer.prepare("work", {"n": n}) for n in range(3)])
    with ThreadPoolExecutor() as pool:
        for _ in range(5):
            with frozen(server.pid):
                asking = pool.submit(layer.channel_statistics, "work")
                time.sleep(0.5)
            assert asking.result()["messages_pending"] == 3
    assert "made anew" not in caplog.text
    assert numbers(take(layer, "work", count=3)) == [0, 1, 2]
