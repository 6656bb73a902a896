"""The demo's prices in a browser."""

from __future__ import annotations

import json
import re
import sqlite3
from collections.abc import Callable, Iterator
from contextlib import closing
from typing import Any

import pytest
from playwright.sync_api import Page, WebSocket, WebSocketRoute, expect

from tests.conftest import wait_until
from tests.end_to_end.conftest import WAIT_MILLISECONDS
from tests.end_to_end.processes import Project, Service

pytestmark = pytest.mark.browser

Open = Callable[..., Page]


@pytest.fixture(scope="module", autouse=True)
def ticker(demo: Project) -> Iterator[Service]:
    """The process that makes the prices, which has made the first."""
    command = [*demo.manage, "tick_prices"]
    with Service("prices", command, demo.environment, demo.web.log.parent) as service:
        with closing(sqlite3.connect(demo.environment["DATABASE_PATH"], timeout=60)) as database:
            wait_until(lambda: database.execute("SELECT 1 FROM prices_price").fetchone(), "prices")
        yield service


class Frames:
    """What a page was sent on its sockets, and how many it opened."""

    def __init__(self, page: Page) -> None:
        self.sockets = 0
        self.got: list[dict[str, Any]] = []
        page.on("websocket", self._watch)

    def _watch(self, socket: WebSocket) -> None:
        self.sockets += 1
        socket.on("framereceived", lambda frame: self.got.append(json.loads(frame)))


@pytest.fixture
def open_prices(open_page: Open) -> Callable[[str], tuple[Page, Frames]]:
    """A page of a coin, once it has drawn something, and its frames."""

    def open_prices(coin: str) -> tuple[Page, Frames]:
        page = open_page("/")
        frames = Frames(page)
        page.goto(page.url + f"prices/{coin}/")
        wait_drawn(page)
        return page, frames

    return open_prices


def wait_drawn(page: Page) -> None:
    expect(page.locator("#connection")).to_have_text("Connected")
    expect(page.locator("#price")).to_have_text(re.compile(r"^\$[\d,]+\.\d\d$"))
    expect(page.locator("path.line")).to_have_attribute("d", re.compile("^M.*L.*"))


def price(page: Page) -> float:
    return float(page.locator("#price").inner_text().strip("$").replace(",", ""))


def wait_moved_on(page: Page) -> None:
    """The chart and the price change; a price may by chance be the one before, the chart cannot."""
    before = page.locator("path.line").get_attribute("d") or ""
    expect(page.locator("path.line")).not_to_have_attribute("d", before)


def begins_with_minutes(frames: list[dict[str, Any]]) -> bool:
    """Whether the last minutes come first, or right after a price that was made at the very moment of joining."""
    return any(len(frame["prices"]) > 250 for frame in frames[:2])


def wait_for_frames(page: Page, frames: Frames, count: int) -> list[dict[str, Any]]:
    """The next frames that come."""
    start = len(frames.got)
    for _ in range(WAIT_MILLISECONDS // 100):
        if len(frames.got) >= start + count:
            return frames.got[start : start + count]
        page.wait_for_timeout(100)
    pytest.fail(f"{count} frames did not come; these did: {frames.got[start:]}")


def test_the_chart_begins_with_the_last_minutes_and_moves_on(open_prices: Callable[..., Any]) -> None:
    page, frames = open_prices("bitcoin")
    assert {frame["coin"] for frame in frames.got} == {"bitcoin"}
    assert begins_with_minutes(frames.got)
    assert 40_000 < price(page) < 90_000
    for _ in range(3):
        wait_moved_on(page)
    seconds = sorted({second for frame in frames.got for second, _ in frame["prices"]})
    assert seconds == list(range(seconds[0], seconds[0] + len(seconds)))
    expect(page.locator("#change-value")).to_have_text(re.compile(r"^[+-]?\$\d.*%\)$"))
    expect(page.get_by_role("img", name=re.compile("^Line chart of the price from"))).to_be_visible()
    for axis in (page.locator(".chart text").first, page.locator(".axis-name")):
        expect(axis).to_be_visible()


@pytest.mark.slow
def test_switching_moves_the_one_socket_to_the_other_coin(open_prices: Callable[..., Any]) -> None:
    page, frames = open_prices("bitcoin")
    page.evaluate("window.same = true")
    page.get_by_label("Litecoin").check(force=True)
    expect(page).to_have_url(re.compile("/prices/litecoin/$"))
    expect(page).to_have_title(re.compile("^Litecoin"))
    expect(page.locator("#price")).to_have_text(re.compile(r"^\$\d{2,3}\.\d\d$"))
    assert 50 < price(page) < 130
    # The answer to the choice is the end of what comes of the coin before.
    answered = next(index for index, frame in enumerate(frames.got) if frame["coin"] == "litecoin")
    assert begins_with_minutes(frames.got[answered:])
    wait_for_frames(page, frames, 4)
    assert {frame["coin"] for frame in frames.got[answered:]} == {"litecoin"}
    assert frames.sockets == 1
    assert page.evaluate("window.same")

    page.get_by_label("Bitcoin").check(force=True)
    page.wait_for_function("document.getElementById('price').textContent.length > 8")
    assert {frame["coin"] for frame in wait_for_frames(page, frames, 3)} == {"bitcoin"}


@pytest.mark.slow
def test_two_pages_watch_two_coins(open_prices: Callable[..., Any]) -> None:
    (one, its), (other, others) = open_prices("bitcoin"), open_prices("litecoin")
    assert {frame["coin"] for frame in wait_for_frames(one, its, 3)} == {"bitcoin"}
    assert {frame["coin"] for frame in wait_for_frames(other, others, 3)} == {"litecoin"}


@pytest.mark.slow
def test_a_pointer_is_told_time_and_price(open_prices: Callable[..., Any]) -> None:
    page, _ = open_prices("litecoin")
    expect(page.locator(".tip")).to_be_hidden()
    page.locator("#chart").hover()
    expect(page.locator(".tip")).to_have_text(re.compile(r"^\$\d+\.\d\d.*\d:\d\d"))


@pytest.mark.slow
def test_the_page_says_when_nobody_makes_prices_and_goes_on_afterwards(
    open_prices: Callable[..., Any], ticker: Service
) -> None:
    page, frames = open_prices("bitcoin")
    ticker.stop()
    expect(page.get_by_text("tick_prices")).to_be_visible()
    ticker.start()
    expect(page.get_by_text("tick_prices")).to_be_hidden()
    wait_moved_on(page)
    seconds = sorted({second for frame in frames.got for second, _ in frame["prices"]})
    assert seconds == list(range(seconds[0], seconds[0] + len(seconds)))


@pytest.mark.slow
def test_prices_go_on_after_the_workers_were_restarted(open_prices: Callable[..., Any], demo: Project) -> None:
    page, frames = open_prices("bitcoin")
    demo.stop_workers()
    wait_moved_on(page)
    page.get_by_label("Litecoin").check(force=True)
    expect(page.get_by_text("The choice waits for a worker.")).to_be_visible()
    demo.start_workers()
    demo.wait_for_page()
    expect(page.get_by_text("The choice waits for a worker.")).to_be_hidden()
    expect(page.locator("#price")).to_have_text(re.compile(r"^\$\d{2,3}\.\d\d$"))
    assert frames.sockets == 1


@pytest.mark.slow
@pytest.mark.parametrize(("reason", "said"), [("; reconnect=4000", "Offline, trying again"), ("", "Connecting")])
def test_a_page_comes_back_when_the_server_says_if_it_says_that(open_page: Open, reason: str, said: str) -> None:
    page = open_page("/")
    opened: list[WebSocketRoute] = []

    def route(socket: WebSocketRoute) -> None:
        opened.append(socket)
        socket.connect_to_server()

    page.route_web_socket(re.compile("/prices/"), route)
    page.goto(page.url + "prices/bitcoin/")
    wait_drawn(page)
    pill = "const pill = document.getElementById('connection'); window.said = [];"
    page.evaluate(pill + "new MutationObserver(() => said.push(pill.textContent)).observe(pill, {childList: true})")
    opened[0].close(code=1012, reason="service restart" + reason)
    page.wait_for_function("said.length")
    assert page.evaluate("said[0]") == said
    wait_drawn(page)
    assert len(opened) == 2


@pytest.mark.slow
@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("size", [(390, 844), (1280, 800)], ids=["phone", "desktop"])
def test_nothing_sticks_out_and_nothing_has_to_move(
    open_prices: Callable[..., Any], size: tuple[int, int], scheme: Any
) -> None:
    page, _ = open_prices("bitcoin")
    page.set_viewport_size({"width": size[0], "height": size[1]})
    page.emulate_media(color_scheme=scheme, reduced_motion="reduce")
    page.reload()
    wait_drawn(page)
    wait_moved_on(page)
    root = "document.documentElement"
    assert not page.evaluate(f"{root}.scrollWidth > innerWidth || {root}.scrollHeight > innerHeight")
    assert page.evaluate("document.getAnimations().length") == 0
