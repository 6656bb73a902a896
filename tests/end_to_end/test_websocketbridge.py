"""The JavaScript bridge in a browser, against a small WebSocket server."""

from __future__ import annotations

import http
import json
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from playwright.sync_api import Browser, Error, Page
from websockets.datastructures import Headers
from websockets.http11 import Request, Response
from websockets.sync.server import Server, ServerConnection, serve

from tests.conftest import free_port, wait_until
from tests.end_to_end.conftest import WAIT_MILLISECONDS

pytestmark = pytest.mark.browser

SCRIPT = Path(__file__).parents[2] / "channels" / "static" / "channels" / "js" / "websocketbridge.js"
PAGES = {
    "/": b"<!doctype html><title>bridge</title><script src='/bridge.js'></script>",
    "/module": b"<!doctype html><script type='module'>import '/bridge.js'; window.loaded = 1</script>",
    "/bridge.js": SCRIPT.read_bytes(),
}
QUICK = {"minReconnectionDelay": 20, "maxReconnectionDelay": 60}


class Site:
    """A server of the page and of WebSockets that answers frames as the tests say.

    Attributes:
        opened: paths of the sockets so far.
        got: frames so far.
    """

    def __init__(self) -> None:
        self.port = free_port()
        self.opened: list[str] = []
        self.got: list[Any] = []
        self.sockets: list[ServerConnection] = []
        self._server: Server | None = None

    def start(self) -> None:
        self._server = serve(
            self._talk, "127.0.0.1", self.port, process_request=self._page, compression=None,
            select_subprotocol=lambda connection, offered: next(iter(offered), None),
        )  # fmt: skip
        threading.Thread(target=self._server.serve_forever, daemon=True).start()

    def stop(self) -> None:
        """Go away with all sockets, as a server that is restarted."""
        if self._server is not None:
            self._server.shutdown()
            self._server = None
        for socket in self.sockets:
            socket.close()
        self.sockets.clear()

    def say(self, *messages: Any) -> None:
        # The browser knows of the connection a moment before the handler here does.
        wait_until(lambda: self.sockets, "a socket")
        for message in messages:
            self.sockets[-1].send(message if isinstance(message, (str, bytes)) else json.dumps(message))

    def url(self, path: str = "/", scheme: str = "http") -> str:
        return f"{scheme}://127.0.0.1:{self.port}{path}"

    def _page(self, connection: ServerConnection, request: Request) -> Response | None:
        if "upgrade" in request.headers.get("connection", "").lower():
            return None
        content = PAGES.get(request.path, b"")
        kind = "text/javascript" if request.path.endswith(".js") else "text/html"
        fields = {"Content-Type": kind, "Content-Length": str(len(content)), "Connection": "close"}
        return Response(http.HTTPStatus.OK, "OK", Headers(fields), content)

    def _talk(self, connection: ServerConnection) -> None:
        assert connection.request is not None
        self.sockets.append(connection)
        self.opened.append(connection.request.path)
        for frame in connection:
            self.got.append(json.loads(frame))


@pytest.fixture
def site() -> Iterator[Site]:
    site = Site()
    site.start()
    yield site
    site.stop()


@pytest.fixture
def page(browser: Browser, site: Site) -> Iterator[Page]:
    """A page with the bridge on it; what it hears is collected in ``heard``, events of its socket in ``events``."""
    context = browser.new_context()
    context.set_default_timeout(WAIT_MILLISECONDS)
    page = context.new_page()
    page.goto(site.url())
    page.evaluate("""() => {
        window.heard = [];
        window.events = [];
        window.hear = (action, stream) => heard.push([action, stream]);
        window.watch = (bridge) => {
            for (const type of ["open", "close", "error"]) {
                bridge.socket.addEventListener(type, (event) => events.push([type, event.code || null]));
            }
        };
        window.bridge = new channels.WebSocketBridge();
    }""")
    yield page
    context.close()


def heard(page: Page, count: int) -> list[Any]:
    page.wait_for_function(f"heard.length >= {count}")
    found: list[Any] = page.evaluate("heard")
    return found


def opened(page: Page) -> None:
    page.wait_for_function("bridge.socket.readyState === WebSocket.OPEN")


def connect(page: Page, path: str = "/ws/", **options: Any) -> None:
    script = "([path, options]) => { bridge.connect(path, undefined, options); watch(bridge); bridge.listen(hear); }"
    page.evaluate(script, [path, QUICK | options])


def test_messages_of_no_stream_go_to_the_listener(page: Page, site: Site) -> None:
    connect(page)
    opened(page)
    site.say({"a": 1}, [1, 2], None, "5", {"payload": "only"})
    assert heard(page, 5) == [[{"a": 1}, None], [[1, 2], None], [None, None], [5, None], [{"payload": "only"}, None]]


def test_messages_of_a_stream_go_to_its_callback_alone(page: Page, site: Site) -> None:
    connect(page)
    page.evaluate("""() => {
        bridge.demultiplex("news", (action, stream) => heard.push(["news", action, stream]));
        bridge.demultiplex("chat", (action, stream) => heard.push(["chat", action, stream]));
    }""")
    opened(page)
    site.say(
        {"stream": "chat", "payload": {"n": 1}},
        {"stream": "nobody's", "payload": 2},
        {"stream": "toString", "payload": 3},
        {"stream": "news", "payload": None},
    )
    assert heard(page, 2) == [["chat", {"n": 1}, "chat"], ["news", None, "news"]]


def test_a_listener_is_not_needed_to_demultiplex(page: Page, site: Site) -> None:
    page.evaluate("() => { bridge.connect('/'); bridge.listen(); bridge.demultiplex('a', hear); }")
    opened(page)
    site.say({"nothing": "listens"}, {"stream": "a", "payload": 1})
    assert heard(page, 1) == [[1, "a"]]


def test_messages_and_messages_of_streams_are_sent(page: Page, site: Site) -> None:
    connect(page)
    opened(page)
    page.evaluate("() => { bridge.send({prop: 'é'}); bridge.stream('news').send({action: 'create', data: [1]}); }")
    wanted = [{"prop": "é"}, {"stream": "news", "payload": {"action": "create", "data": [1]}}]
    wait_until(lambda: site.got == wanted, "two messages")


def test_what_is_no_json_is_reported_and_the_next_message_heard(page: Page, site: Site) -> None:
    lines: list[str] = []
    page.on("console", lambda line: lines.append(line.text))
    connect(page)
    opened(page)
    site.say("no json", b"\x00", {"a": 1})
    assert heard(page, 1) == [[{"a": 1}, None]]
    assert len(lines) == 2
    assert all(line.startswith("WebSocketBridge: a message that is not JSON was ignored") for line in lines)


@pytest.mark.parametrize(
    ("given", "path"),
    [("'/chat/?a=1'", "/chat/?a=1"), ("'chat/'", "/chat/"), ("undefined", "/"), ("location.origin + '/x'", "/x"),
     ("'ws://' + location.host + '/y'", "/y"), ("'//' + location.host + '/z'", "/z")],
)  # fmt: skip
def test_addresses_may_be_relative_or_absolute(page: Page, site: Site, given: str, path: str) -> None:
    page.evaluate(f"() => bridge.connect({given})")
    wait_until(lambda: site.opened == [path], f"a socket for {path}")


def test_a_secure_page_connects_securely(browser: Browser) -> None:
    context = browser.new_context()
    page = context.new_page()
    page.route("https://site.test/**", lambda route: route.fulfill(body=PAGES["/"].decode(), content_type="text/html"))
    page.route("https://site.test/bridge.js", lambda route: route.fulfill(path=SCRIPT))
    urls: list[str] = []
    page.route_web_socket(lambda url: True, lambda socket: urls.append(socket.url))
    page.goto("https://site.test/room/")
    page.evaluate("() => new channels.WebSocketBridge().connect('/chat/')")
    page.wait_for_timeout(0)
    assert urls == ["wss://site.test/chat/"]
    context.close()


def test_protocols_are_offered(page: Page, site: Site) -> None:
    page.evaluate("() => bridge.connect('/', ['two', 'one'])")
    opened(page)
    assert page.evaluate("bridge.socket.protocol") == "two"


def test_it_comes_back_with_its_listeners_when_the_server_does(page: Page, site: Site) -> None:
    connect(page)
    page.evaluate("() => { bridge.socket.onopen = () => events.push(['onopen', null]); }")
    opened(page)
    site.stop()
    page.wait_for_function("events.some(([type]) => type === 'close')")
    site.start()
    wait_until(lambda: len(site.opened) == 2, "a second socket")
    opened(page)
    site.say({"again": True})
    assert heard(page, 1) == [[{"again": True}, None]]
    events = page.evaluate("events.map(([type]) => type)")
    assert events.count("open") == 2
    # The first socket may have been open before it had its listener.
    assert "onopen" in events[events.index("close") :]


def test_a_socket_that_is_closed_for_good_stays_closed(page: Page, site: Site) -> None:
    connect(page)
    opened(page)
    page.evaluate("() => bridge.socket.close(1000, 'bye', {keepClosed: true})")
    assert page.evaluate("events") == [["open", None], ["close", 1000]]
    connect(page, "/other/")
    opened(page)
    wait_until(lambda: site.opened == ["/ws/", "/other/"], "one socket for each")


def test_a_socket_that_is_closed_without_a_word_comes_back(page: Page, site: Site) -> None:
    connect(page)
    opened(page)
    page.evaluate("() => bridge.socket.close(4000, 'again', {delay: 5})")
    wait_until(lambda: len(site.opened) == 2, "a second socket")
    opened(page)


def test_a_close_code_that_is_not_allowed_changes_nothing(page: Page, site: Site) -> None:
    connect(page)
    opened(page)
    with pytest.raises(Error, match="InvalidAccessError"):
        page.evaluate("() => bridge.socket.close(1006, '', {keepClosed: true})")
    site.say({"still": "here"})
    assert heard(page, 1) == [[{"still": "here"}, None]]


def test_attempts_end_when_they_are_limited(page: Page, site: Site) -> None:
    site.stop()
    connect(page, maxRetries=2)
    page.wait_for_function("events.some(([type, code]) => type === 'error' && code === 'EHOSTDOWN')")
    assert page.evaluate("events.filter(([type]) => type === 'close').length") == 3


def test_pauses_grow_up_to_the_most_and_differ(page: Page) -> None:
    delays = page.evaluate("""() => {
        class Silent { close() {} }
        bridge.connect("/", undefined, {constructor: Silent});
        const socket = bridge.socket;
        return [1, 2, 3, 10, 50].map((failures) => {
            socket._failures = failures;
            return Array.from({length: 200}, () => socket._delay());
        });
    }""")
    bounds = [3000, 3900, 5070, 10000, 10000]
    for found, bound in zip(delays, bounds, strict=True):
        assert 1500 <= min(found) < max(found) <= bound
    assert max(delays[-1]) > bounds[1]


def test_an_attempt_that_takes_too_long_is_given_up(page: Page) -> None:
    page.evaluate("""() => {
        window.made = 0;
        class Silent { constructor() { made += 1; this.readyState = 0; } close() { this.readyState = 3; } }
        bridge.connect("/", undefined, {constructor: Silent, connectionTimeout: 30, minReconnectionDelay: 10});
        watch(bridge);
    }""")
    page.wait_for_function("made >= 2")
    assert page.evaluate("events.slice(0, 2)") == [["error", "ETIMEDOUT"], ["close", 1006]]


def test_a_message_without_a_connection_is_refused_aloud(page: Page, site: Site) -> None:
    with pytest.raises(Error, match=r"call connect\(\) before send\(\)"):
        page.evaluate("() => bridge.send({})")
    site.stop()
    connect(page)
    with pytest.raises(Error, match="InvalidStateError"):
        page.evaluate("() => bridge.send({})")


def test_messages_can_wait_for_the_connection_up_to_a_number(page: Page, site: Site) -> None:
    site.stop()
    connect(page, maxQueuedMessages=2)
    page.evaluate("() => { bridge.send({n: 1}); bridge.stream('s').send(2); }")
    with pytest.raises(Error, match="the message was not sent"):
        page.evaluate("() => bridge.send({n: 3})")
    site.start()
    wait_until(lambda: site.got == [{"n": 1}, {"stream": "s", "payload": 2}], "what waited")


def test_it_can_be_told_what_to_listen_to_before_it_connects(page: Page, site: Site) -> None:
    page.evaluate("() => { bridge.listen(hear); bridge.connect('/'); }")
    opened(page)
    site.say({"a": 1})
    assert heard(page, 1) == [[{"a": 1}, None]]


def test_a_module_finds_it_too(page: Page, site: Site) -> None:
    page.goto(site.url("/module"))
    page.wait_for_function("window.loaded === 1")
    assert page.evaluate("typeof channels.WebSocketBridge") == "function"


def test_commonjs_gets_it_as_exports(page: Page) -> None:
    loaded = """(source) => {
        const module = {exports: {}};
        new Function("module", "exports", source)(module, module.exports);
        return typeof module.exports.WebSocketBridge;
    }"""
    assert page.evaluate(loaded, SCRIPT.read_text()) == "function"


def test_a_server_that_hands_over_says_when_to_come_back(page: Page, site: Site) -> None:
    # Without the hint it would not come back while this test runs.
    connect(page, minReconnectionDelay=3_600_000, maxReconnectionDelay=3_600_000)
    opened(page)
    wait_until(lambda: site.sockets, "the socket")
    site.sockets[-1].close(1012, "service restart; reconnect=30")
    wait_until(lambda: len(site.opened) == 2, "the next connection")
    opened(page)
