"""The demo's chat in a browser."""

from __future__ import annotations

import itertools
import re
from collections.abc import Callable

import pytest
from playwright.sync_api import Page, WebSocket, WebSocketRoute, expect

from tests.end_to_end.processes import Project

pytestmark = pytest.mark.browser

Open = Callable[..., Page]

room_numbers = itertools.count(1)


@pytest.fixture
def room() -> str:
    """Path of a room nobody has been in."""
    return f"/chat/room-{next(room_numbers)}/"


def wait_connected(*pages: Page) -> None:
    for page in pages:
        expect(page.locator("#connection")).to_have_text("Connected")


def say(page: Page, text: str) -> None:
    page.get_by_label("Message", exact=True).fill(text)
    page.keyboard.press("Enter")


def expect_texts(page: Page, *texts: str) -> None:
    """The page shows exactly these messages, in this order, all of them kept by the server."""
    expect(page.locator(".message .text")).to_have_text(list(texts))
    expect(page.locator(".message.waiting")).to_have_count(0)


@pytest.mark.both_brokers
@pytest.mark.other_brokers
def test_two_pages_in_one_room_see_each_others_messages(open_page: Open, room: str) -> None:
    ada, bob = open_page(room, "Ada"), open_page(room, "Bob")
    wait_connected(ada, bob)
    say(ada, "Is anybody here?")
    expect_texts(bob, "Is anybody here?")
    say(bob, "I am.")
    for page in (ada, bob):
        expect_texts(page, "Is anybody here?", "I am.")
    expect(bob.locator(".message").first.locator(".byline b")).to_have_text("Ada")
    expect(bob.locator(".message").last).to_have_class(re.compile(r"\bmine\b"))


@pytest.mark.slow
def test_what_is_said_in_one_room_is_not_heard_in_another(open_page: Open, room: str) -> None:
    ada, bob = open_page(room, "Ada"), open_page(f"/chat/room-{next(room_numbers)}/", "Bob")
    wait_connected(ada, bob)
    say(ada, "here")
    expect_texts(ada, "here")
    say(bob, "there")
    expect_texts(bob, "there")
    expect_texts(ada, "here")


@pytest.mark.slow
def test_everybody_sees_how_many_are_here(open_page: Open, room: str) -> None:
    ada = open_page(room)
    expect(ada.locator("#here")).to_have_text("Only you are here")
    bob = open_page(room, "Bob")
    expect(ada.locator("#here")).to_have_text("2 are here")
    bob.close()
    expect(ada.locator("#here")).to_have_text("Only you are here")


@pytest.mark.slow
def test_a_new_name_is_shown_with_the_next_message(open_page: Open, room: str) -> None:
    ada, bob = open_page(room, "Ada"), open_page(room, "Bob")
    wait_connected(ada, bob)
    ada.get_by_label("You are").fill("Countess of Lovelace")
    ada.keyboard.press("Enter")
    say(ada, "Good evening")
    expect(bob.locator(".message .byline b")).to_have_text("Countess of Lovelace")


@pytest.mark.slow
def test_markup_in_a_message_stays_text(open_page: Open, room: str) -> None:
    markup = """<img src=x onerror="document.title='broken'"><script>document.title='broken'</script> & <b>bold</b>"""
    ada, bob = open_page(room, "<i>Ada</i>"), open_page(room, "Bob")
    wait_connected(ada, bob)
    say(ada, markup)
    expect_texts(bob, markup)
    bob.reload()
    expect_texts(bob, markup)
    expect(bob.locator(".message .byline b")).to_have_text("<i>Ada</i>")
    expect(bob.locator(".message :is(img, script, b b, i)")).to_have_count(0)
    assert "broken" not in bob.title()


@pytest.mark.slow
def test_who_comes_later_sees_the_last_fifty_messages(open_page: Open, room: str) -> None:
    ada = open_page(room)
    wait_connected(ada)
    for number in range(53):
        say(ada, f"message {number}")
    expect(ada.locator(".message:not(.waiting)")).to_have_count(53)
    expect_texts(open_page(room, "Bob"), *(f"message {number}" for number in range(3, 53)))


@pytest.mark.slow
def test_a_page_whose_connection_was_away_gets_what_it_missed(open_page: Open, room: str) -> None:
    ada = open_page(room, "Ada")
    wait_connected(ada)
    bob = open_page("/", "Bob")
    cut = False
    routes: list[WebSocketRoute] = []

    def pass_or_cut(route: WebSocketRoute) -> None:
        routes.append(route)
        if cut:
            route.close()
        else:
            route.connect_to_server()

    bob.route_web_socket(re.compile(".*"), pass_or_cut)
    bob.goto(ada.url)
    wait_connected(bob)
    say(ada, "before")
    expect_texts(bob, "before")
    cut = True
    routes[-1].close()
    expect(bob.locator("#connection")).not_to_have_text("Connected")
    say(ada, "meanwhile 1")
    say(ada, "meanwhile 2")
    expect_texts(ada, "before", "meanwhile 1", "meanwhile 2")
    cut = False
    wait_connected(bob)
    say(ada, "after")
    expect_texts(bob, "before", "meanwhile 1", "meanwhile 2", "after")


def test_a_page_reconnects_after_the_web_server_went_away(open_page: Open, room: str, demo: Project) -> None:
    ada, bob = open_page(room, "Ada"), open_page(room, "Bob")
    wait_connected(ada, bob)
    say(ada, "before")
    expect_texts(bob, "before")
    demo.web.stop()
    expect(ada.locator("#connection")).not_to_have_text("Connected")
    say(ada, "written while nobody listened")
    expect(ada.locator(".message.waiting .text")).to_have_text("written while nobody listened")
    demo.web.start()
    wait_connected(ada, bob)
    expect_texts(ada, "before", "written while nobody listened")
    expect_texts(bob, "before", "written while nobody listened")


WATCH_PAUSES = """() => {
    window.pauses = [];
    window.reasons = [];
    const later = window.setTimeout;
    window.setTimeout = (callback, pause, ...given) => { pauses.push(pause); return later(callback, pause, ...given); };
    const Original = window.WebSocket;
    window.WebSocket = class extends Original {
        constructor(...given) {
            super(...given);
            this.addEventListener("close", ({ code, reason }) => reasons.push(`${code} ${reason}`));
        }
    };
}"""


@pytest.mark.slow
def test_a_page_of_a_drained_server_comes_back_after_the_pause_that_it_was_told(
    open_page: Open, room: str, demo: Project
) -> None:
    demo.web.stop()
    command = list(demo.web.command)
    demo.web.command += ["--drain-seconds", "1"]
    demo.web.start()
    demo.web.command = command
    demo.wait_for_page()
    pages = [open_page("/", name) for name in ("Ada", "Bob")]
    for page in pages:
        page.add_init_script(f"({WATCH_PAUSES})()")
        page.goto(demo.url + room)
    wait_connected(*pages)
    demo.web.stop()
    demo.web.start()
    wait_connected(*pages)
    for page in pages:
        told = re.fullmatch(r"1012 service restart; reconnect=(\d+)", page.evaluate("reasons[0]"))
        assert told
        assert int(told[1]) in page.evaluate("pauses")


@pytest.mark.both_brokers
def test_open_sockets_live_through_a_change_of_all_workers(open_page: Open, room: str, demo: Project) -> None:
    ada, bob = open_page(room, "Ada"), open_page(room, "Bob")
    wait_connected(ada, bob)
    say(ada, "before")
    expect_texts(bob, "before")

    # From here on no page may open a second socket, nor notice anything.
    new_sockets: list[WebSocket] = []
    for page in (ada, bob):
        page.on("websocket", lambda socket: new_sockets.append(socket))
        page.evaluate("""() => {
            const connection = document.getElementById("connection");
            new MutationObserver(() => { window.noticed = true; }).observe(connection, {attributes: true});
        }""")

    demo.stop_workers()
    meanwhile = [f"meanwhile {number}" for number in range(1, 11)]
    for text in meanwhile:
        say(ada, text)
    expect(ada.locator(".message.waiting")).to_have_count(len(meanwhile))
    expect(ada.locator(".waiting .state").last).to_be_visible()
    assert contrast(ada, ".waiting .text") > 4.5
    demo.start_workers()
    expect_texts(bob, "before", *meanwhile)
    expect_texts(ada, "before", *meanwhile)
    say(bob, "after")
    expect_texts(ada, "before", *meanwhile, "after")
    assert new_sockets == []
    assert not any(page.evaluate("window.noticed") for page in (ada, bob))


def contrast(page: Page, selector: str) -> float:
    """Contrast of an element's text with what lies behind it, by WCAG 2."""
    ratio: float = page.evaluate(
        """(selector) => {
            const shown = (element) => getComputedStyle(element);
            const numbers = (colour) => colour.match(/[\\d.]+/g).map(Number);
            const light = (colour) => numbers(colour).slice(0, 3)
                .map((part) => part / 255)
                .map((part) => (part <= 0.03928 ? part / 12.92 : ((part + 0.055) / 1.055) ** 2.4))
                .reduce((sum, part, index) => sum + part * [0.2126, 0.7152, 0.0722][index], 0);
            const element = document.querySelector(selector);
            let behind = element, opacity = 1;
            for (let one = element; one; one = one.parentElement) opacity *= Number(shown(one).opacity);
            while (numbers(shown(behind).backgroundColor)[3] === 0) behind = behind.parentElement;
            const both = [light(shown(element).color), light(shown(behind).backgroundColor)];
            const [one, other] = both.sort((a, b) => b - a);
            return opacity < 1 ? 0 : (one + 0.05) / (other + 0.05);
        }""",
        selector,
    )
    return ratio


@pytest.mark.slow
def test_the_start_page_lists_rooms_and_leads_into_a_new_one(open_page: Open, room: str) -> None:
    ada = open_page(room)
    wait_connected(ada)
    say(ada, "first")
    expect_texts(ada, "first")
    bob = open_page("/", "Bob")
    bob.get_by_role("link", name=room.split("/")[2]).click()
    expect_texts(bob, "first")
    bob.get_by_label("All rooms").click()
    bob.get_by_label("Enter or create a room").fill("Café Central!")
    bob.get_by_role("button", name="Go in").click()
    expect(bob).to_have_url(re.compile(r"/chat/cafe-central/$"))
    wait_connected(bob)


@pytest.mark.slow
@pytest.mark.parametrize("size", [(390, 844), (1280, 800)], ids=["phone", "desktop"])
def test_nothing_sticks_out_of_the_window(open_page: Open, room: str, size: tuple[int, int]) -> None:
    ada = open_page(room)
    ada.set_viewport_size({"width": size[0], "height": size[1]})
    wait_connected(ada)
    say(ada, "https://example.org/" + "a-very-long-word" * 20)
    expect(ada.locator(".message .text")).to_have_count(1)
    too_wide = (
        "document.documentElement.scrollWidth > innerWidth || document.documentElement.scrollHeight > innerHeight"
    )
    assert not ada.evaluate(too_wide)
    ada.goto(ada.url.split("/chat/")[0])
    assert not ada.evaluate("document.documentElement.scrollWidth > innerWidth")
