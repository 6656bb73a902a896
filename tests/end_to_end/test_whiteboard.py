"""The demo's whiteboard in a browser, deployed while people draw.

The web server is started as ``daphne demo.asgi:application``, as of a project for Channels 4; the other demos' tests
start it with the channel layer.
"""

from __future__ import annotations

import itertools
import re
import socket
import sqlite3
import threading
from collections.abc import Callable, Iterator
from contextlib import closing
from typing import Any

import pytest
from playwright.sync_api import Browser, Locator, Page, WebSocket, expect

from tests.end_to_end.processes import Project

pytestmark = pytest.mark.browser

Open = Callable[..., Page]

boards = itertools.count(1)


def obey(listener: socket.socket, project: Project) -> None:
    """Restart the worker for each ``restart worker``, as what ``make demo`` runs does, after the answer."""
    while True:
        try:
            client, _ = listener.accept()
        except OSError:  # closed
            return
        with client, client.makefile("rw") as stream:
            known = stream.readline() == "restart worker\n"
            stream.write("ok" if known else "unknown")
        if known:
            project.workers[0].stop()
            project.workers[0].start()


@pytest.fixture(scope="module")
def demo(broker: dict[str, str], tmp_path_factory: pytest.TempPathFactory) -> Iterator[Project]:
    """The demo with one worker, which can be restarted from its pages."""
    directory = tmp_path_factory.mktemp("demo")
    control = directory / "control"
    environment = broker | {"DJANGO_SETTINGS_MODULE": "tests.fixtures.quick_demo", "DEMO_CONTROL": str(control)}
    project = Project("demo", directory, environment, workers=1)
    project.web.command[1] = "demo.asgi:application"
    with socket.socket(socket.AF_UNIX) as listener, project:
        listener.bind(str(control))
        listener.listen()
        manager = threading.Thread(target=obey, args=(listener, project))
        manager.start()
        yield project
        listener.shutdown(socket.SHUT_RDWR)
        manager.join()


@pytest.fixture
def board() -> str:
    """The path of a board that nobody has been to."""
    return f"/whiteboard/board-{next(boards)}/"


class Player:
    """A page at a board, and how many sockets it has opened."""

    def __init__(self, page: Page, board: str) -> None:
        self.page = page
        self.sockets = 0
        self._board = board
        page.on("websocket", self._count)
        page.goto(page.url.rstrip("/") + board)
        expect(self.fact("event-fact")).to_contain_text("process")

    def _count(self, opened: WebSocket) -> None:
        self.sockets += opened.url.endswith(self._board)

    def fact(self, name: str) -> Locator:
        return self.page.locator(f"#{name}")

    @property
    def kept(self) -> Locator:
        """The strokes that are saved."""
        return self.page.locator("#kept path")

    @property
    def live(self) -> Locator:
        """The strokes that are not saved yet."""
        return self.page.locator("#live path")

    def take(self, color: str, width: int) -> None:
        for name, value in (("color", color), ("width", width)):
            self.page.locator(f'[name={name}][value="{value}"]').check(force=True)

    def press(self) -> None:
        """Put the pen down where it is."""
        self.page.mouse.down()

    def move(self, *places: tuple[float, float], steps: int = 1) -> None:
        """Move the pen; a place is a part of the board's width and of its height."""
        box = self.page.locator("#board").bounding_box()
        assert box is not None
        for x, y in places:
            self.page.mouse.move(box["x"] + x * box["width"], box["y"] + y * box["height"], steps=steps)

    def lift(self) -> None:
        self.page.mouse.up()

    def draw(self, *places: tuple[float, float], steps: int = 1) -> None:
        self.move(places[0])
        self.press()
        self.move(*places[1:], steps=steps)
        self.lift()

    def shapes(self) -> list[tuple[str, str, str]]:
        """How the strokes look that are saved."""
        return [
            tuple(path.get_attribute(name) or "" for name in ("data-color", "stroke-width", "d"))  # type: ignore[misc]
            for path in self.kept.all()
        ]


@pytest.fixture
def come(open_page: Open, board: str) -> Callable[[], Player]:
    """Somebody comes to the board of the test."""
    return lambda: Player(open_page("/"), board)


def lines(at: float) -> list[tuple[float, float]]:
    return [(0.1 + step / 20, at) for step in range(10)]


def expect_strokes(count: int, *players: Player) -> None:
    for player in players:
        expect(player.kept).to_have_count(count)
        expect(player.live).to_have_count(0)


@pytest.mark.both_brokers
@pytest.mark.other_brokers
def test_a_worker_is_replaced_in_the_middle_of_a_line(come: Callable[[], Player]) -> None:
    ada, bob = come(), come()
    expect(ada.page.locator("#here")).to_contain_text("With ")
    ada.take("red", 32)
    ada.draw(*lines(0.2))
    ada.draw(*lines(0.3))
    bob.draw(*lines(0.4))
    expect_strokes(3, ada, bob)

    ada.move((0.2, 0.6))
    ada.press()
    ada.move((0.3, 0.7), (0.4, 0.6))
    expect(bob.live).to_have_count(1)
    before = ada.fact("event-fact").inner_text()
    ada.page.keyboard.press("r")
    expect(ada.fact("events")).to_contain_text("Restarting worker")
    ada.move((0.5, 0.7), (0.6, 0.6))
    expect(ada.fact("events")).to_contain_text("took over")
    expect(ada.fact("events")).to_contain_text("The WebSocket stayed open.")
    expect(bob.kept).to_have_count(3)
    ada.move((0.7, 0.7), (0.8, 0.6))
    ada.lift()

    expect_strokes(4, ada, bob)
    assert ada.shapes() == bob.shapes()
    color, width, path = ada.shapes()[-1]
    assert (color, width) == ("red", "32")
    assert path.count("Q") == 5, "all seven points belong to the one stroke"
    for player, drawn in ((ada, "3"), (bob, "1")):
        expect(player.fact("moves-fact")).to_have_text("once")
        expect(player.fact("socket-fact")).to_contain_text("never lost")
        expect(player.fact("self-drawn")).to_have_text(drawn)
        assert player.sockets == 1
    assert re.findall(r"process (\d+)", ada.fact("event-fact").inner_text()) != re.findall(r"process (\d+)", before)

    # Each has an undo list of their own, with what was drawn before the worker was replaced.
    ada.page.get_by_role("button", name="Undo").click()
    ada.page.get_by_role("button", name="Undo").click()
    expect_strokes(2, ada, bob)
    bob.page.keyboard.press("Control+z")
    expect_strokes(1, ada, bob)
    bob.page.keyboard.press("Control+Shift+Z")
    ada.page.get_by_role("button", name="Redo").click()
    expect_strokes(3, ada, bob)
    expect(ada.fact("self-undoable")).to_have_text("2")
    expect(ada.fact("self-redoable")).to_have_text("1")


@pytest.mark.slow
def test_a_line_is_whole_even_if_its_worker_is_killed(come: Callable[[], Player], demo: Project) -> None:
    ada, bob = come(), come()
    ada.draw(*lines(0.2))
    expect_strokes(1, ada, bob)
    ada.move((0.1, 0.4))
    ada.press()
    ada.move((0.9, 0.6), steps=20)
    demo.workers[0].kill()
    ada.move((0.1, 0.8), steps=20)
    demo.workers[0].start()
    ada.lift()
    expect_strokes(2, ada, bob)
    assert ada.shapes() == bob.shapes()
    assert ada.shapes()[1][2].count("Q") == 39, "all 41 points"
    expect(ada.fact("moves-fact")).to_have_text("once")
    expect(ada.fact("self-undoable")).to_have_text("2")
    assert (ada.sockets, bob.sockets) == (1, 1)


@pytest.mark.slow
def test_what_was_drawn_without_a_connection_is_sent_once_there_is_one(
    come: Callable[[], Player], demo: Project
) -> None:
    ada = come()
    ada.take("violet", 6)
    ada.draw(*lines(0.2))
    expect_strokes(1, ada)
    demo.web.stop()
    expect(ada.fact("socket-fact")).to_contain_text("lost")
    ada.draw(*lines(0.4))
    expect(ada.live).to_have_count(1)
    ada.move((0.1, 0.6))
    ada.press()
    ada.move((0.2, 0.6))
    demo.web.start()
    expect(ada.fact("socket-fact")).to_contain_text("lost once")
    expect(ada.fact("self-pen")).to_have_text("violet, 6")
    ada.move((0.3, 0.6))
    ada.lift()
    expect_strokes(3, ada)
    assert {color for color, _, _ in ada.shapes()} == {"violet"}
    bob = come()
    expect_strokes(3, bob)
    assert ada.shapes() == bob.shapes()


@pytest.mark.slow
def test_a_page_that_missed_a_change_gets_the_whole_board(
    come: Callable[[], Player], board: str, demo: Project
) -> None:
    ada, bob = come(), come()
    slug = board.split("/")[2]
    with closing(sqlite3.connect(demo.database, timeout=60)) as database, database:
        database.execute("UPDATE whiteboard_board SET version = version + 1 WHERE slug = ?", [slug])
        database.execute(
            "INSERT INTO whiteboard_stroke (board_id, key, color, width, points, visible) "
            "SELECT id, 'missed', 'red', 6, '[10, 10, 90, 90]', 1 FROM whiteboard_board WHERE slug = ?",
            [slug],
        )
    ada.draw(*lines(0.5))
    expect_strokes(2, ada, bob)


@pytest.mark.slow
def test_the_board_is_wiped_for_everybody_after_a_question(come: Callable[[], Player]) -> None:
    ada, bob = come(), come()
    ada.draw(*lines(0.5))
    expect_strokes(1, ada, bob)
    for answer, left in (("Keep it", 1), ("Wipe it", 0)):
        bob.page.get_by_role("button", name="Wipe the board").click()
        bob.page.get_by_role("button", name=answer).click()
        expect(bob.page.get_by_role("dialog")).to_be_hidden()
        bob.page.locator("#board").hover()
        expect_strokes(left, ada, bob)
    expect(ada.page.get_by_text("Draw something.")).to_be_visible()


@pytest.mark.slow
def test_a_line_longer_than_a_stroke_goes_on_with_another(come: Callable[[], Player]) -> None:
    ada = come()
    ada.draw((0.1, 0.1), (0.9, 0.3), (0.1, 0.5), (0.9, 0.7), steps=100)
    expect_strokes(2, ada)
    first, second = (re.findall(r"-?[\d.]+", path) for _, _, path in ada.shapes())
    assert first[-2:] == second[:2]


@pytest.mark.slow
def test_names_are_seen_by_the_others(come: Callable[[], Player]) -> None:
    ada, bob = come(), come()
    ada.page.get_by_label("name").fill("Ada <b>")
    ada.page.keyboard.press("Enter")
    expect(bob.page.locator("#here")).to_have_text("With Ada <b>")
    ada.move((0.5, 0.5), (0.6, 0.6))
    expect(bob.page.locator(".pointer")).to_have_text("Ada <b>")
    ada.page.close()
    expect(bob.page.locator("#here")).to_have_text("Only you are here")
    expect(bob.page.locator(".pointer")).to_have_count(0)


@pytest.mark.slow
def test_the_keyboard_draws(come: Callable[[], Player]) -> None:
    ada = come()
    ada.page.locator("#board").focus()
    for key in ("ArrowLeft", " ", "ArrowRight", "ArrowDown", "ArrowDown", " "):
        ada.page.keyboard.press(key)
    expect_strokes(1, ada)
    assert ada.shapes()[0][2] == "M780 600Q800 600 800 610Q800 620 800 630L800 640"


@pytest.mark.slow
def test_a_finger_draws_and_does_not_scroll(browser: Browser, demo: Project, board: str) -> None:
    context = browser.new_context(has_touch=True, viewport={"width": 390, "height": 844})
    with closing(context):
        page = context.new_page()
        page.goto(demo.url)
        ada = Player(page, board)
        box = page.locator("#board").bounding_box()
        assert box is not None
        x, y = box["x"] + 50, box["y"] + box["height"] - 20
        finger = context.new_cdp_session(page)
        for kind, up in (("touchStart", 0), ("touchMove", 80), ("touchMove", 160)):
            places = [{"x": x, "y": y - up}]
            finger.send("Input.dispatchTouchEvent", {"type": kind, "touchPoints": places})
        finger.send("Input.dispatchTouchEvent", {"type": "touchEnd", "touchPoints": []})
        expect_strokes(1, ada)
        page.touchscreen.tap(x + 90, y)
        expect_strokes(2, ada)
        assert ada.shapes()[1][2].endswith("h0"), "a tap is a dot"
        assert page.evaluate("scrollY") == 0


OUTBOX = """async () => {
    const { Outbox } = await import("/static/whiteboard/outbox.js");
    const sent = [];
    let losses = 0;
    const outbox = new Outbox({ send: (message) => sent.push(message), onLost: () => { losses += 1; } });
    outbox.restart();
    for (let at = 1; at <= 9; at += 1) outbox.add({ type: "draw", key: "k", points: [at, at] });
    const early = sent.length;
    outbox.done(1);
    const afterOne = sent.slice(early).map(({ n, points }) => [n, points.length]);
    outbox.done(2);
    const before = losses;
    outbox.done(5);
    return { early, afterOne, before, losses, delay: outbox.delay };
}"""


@pytest.mark.slow
def test_points_collect_while_answers_are_awaited_and_a_gap_shows_a_loss(come: Callable[[], Player]) -> None:
    found = come().page.evaluate(OUTBOX)
    assert found == {"early": 4, "afterOne": [[5, 10]], "before": 0, "losses": 1, "delay": 0}


@pytest.mark.slow
@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("size", [(390, 844), (1280, 800)], ids=["phone", "desktop"])
def test_nothing_sticks_out_and_nothing_has_to_move(
    come: Callable[[], Player], size: tuple[int, int], scheme: Any
) -> None:
    ada = come()
    ada.page.set_viewport_size({"width": size[0], "height": size[1]})
    ada.page.emulate_media(color_scheme=scheme, reduced_motion="reduce")
    ada.draw(*lines(0.5))
    expect_strokes(1, ada)
    root = "document.documentElement"
    assert not ada.page.evaluate(f"{root}.scrollWidth > innerWidth")
    if size[0] > size[1]:
        assert not ada.page.evaluate(f"{root}.scrollHeight > innerHeight")
    assert ada.page.evaluate("document.getAnimations().length") == 0
    board, button = ada.page.locator("#board"), ada.page.get_by_role("button", name="Restart the worker")
    for part in (board, button):
        box = part.bounding_box()
        assert box is not None
        assert box["y"] + box["height"] <= size[1], "seen without scrolling"


@pytest.mark.slow
def test_the_start_page_shows_the_board(come: Callable[[], Player], open_page: Open, demo: Project) -> None:
    ada = Player(open_page("/"), "/whiteboard/mill/")
    ada.draw(*lines(0.5))
    expect_strokes(1, ada)
    page = open_page("/")
    expect(page.locator("#preview path")).to_have_count(1)
    page.get_by_role("link", name="Draw").click()
    expect(page.locator("#kept path")).to_have_count(1)
