"""The demo's documents in a browser: two people."""

from __future__ import annotations

import itertools
import os
import re
import subprocess
from collections.abc import Callable, Iterator
from typing import Any

import pytest
from playwright.sync_api import Browser, Page, StorageState, expect
from websockets.exceptions import InvalidStatus
from websockets.sync.client import connect
from websockets.typing import Origin

from demo.documents.management.commands.demo_users import PASSWORDS
from tests.end_to_end.conftest import WAIT_MILLISECONDS
from tests.end_to_end.processes import ROOT, Project

pytestmark = pytest.mark.browser

numbers = itertools.count(1)
OpenAs = Callable[..., Page]


@pytest.fixture(scope="module")
def signed_in(browser: Browser, demo: Project) -> dict[str, StorageState]:
    """The cookies of both users, who signed in through the page."""
    command = [*demo.manage, "demo_users"]
    subprocess.run(command, cwd=ROOT, env=os.environ | demo.environment, check=True, capture_output=True)
    states = {}
    for name, password in PASSWORDS.items():
        context = browser.new_context()
        page = context.new_page()
        page.goto(f"{demo.url}/documents/")
        page.get_by_label("Name").fill(name)
        page.get_by_label("Password").fill(password)
        page.get_by_role("button", name="Sign in").click()
        wait_connected(page)
        states[name] = context.storage_state()
        context.close()
    return states


@pytest.fixture
def open_as(browser: Browser, demo: Project, signed_in: dict[str, StorageState]) -> Iterator[OpenAs]:
    """``open_as(name, path)``: a connected page of somebody signed in; no script error is let pass."""
    contexts: dict[str, Any] = {}
    errors: list[str] = []

    def open_as(name: str, path: str = "/documents/") -> Page:
        if name not in contexts:
            contexts[name] = browser.new_context(storage_state=signed_in[name])
            contexts[name].set_default_timeout(WAIT_MILLISECONDS)
        page: Page = contexts[name].new_page()
        page.on("pageerror", lambda error: errors.append(str(error)))
        page.goto(demo.url + path)
        wait_connected(page)
        return page

    yield open_as
    for context in contexts.values():
        context.close()
    assert errors == []


def wait_connected(page: Page) -> None:
    expect(page.locator("#connection")).to_have_text("Connected")


def expect_people(page: Page, **where: str) -> None:
    """Exactly these people are here, each at such a place."""
    expect(page.locator("#people .person")).to_have_count(len(where))
    for name, place in where.items():
        expect(page.locator("#people .person", has_text=name)).to_contain_text(place)


def create(page: Page) -> str:
    """Create a document on the list, and return its title."""
    title = f"Document {next(numbers)} of all"
    page.get_by_label("Title of a new document").fill(title)
    page.get_by_role("button", name="Create").click()
    expect(row(page, title)).to_have_count(1)
    return title


def row(page: Page, title: str) -> Any:
    return page.locator("#documents .document", has_text=title)


def enter(page: Page, title: str) -> None:
    """Open a document from the list."""
    row(page, title).get_by_role("link").click()
    expect(page.locator("#title")).to_have_text(title)
    wait_connected(page)
    expect(page.get_by_role("button", name="Edit")).to_be_enabled()


def edit(page: Page, text: str) -> None:
    page.get_by_role("button", name="Edit").click()
    page.get_by_label("Text").fill(text)


def save(page: Page) -> None:
    page.get_by_role("button", name="Save").click()
    expect(page.locator("#saved")).to_contain_text("Saved by")


@pytest.mark.slow
def test_who_is_not_signed_in_gets_in_at_no_moment(open_as: OpenAs, demo: Project) -> None:
    ada = open_as("ada")
    address = demo.url.replace("http", "ws") + "/documents/"
    for _ in range(10):
        # Each creation is told to the groups, in which nobody may be who is about to be denied.
        create(ada)
        with pytest.raises(InvalidStatus, match="403"), connect(address, origin=Origin(demo.url)):
            pytest.fail("a stranger was let in")


@pytest.mark.slow
def test_two_people_see_each_other_on_the_list(open_as: OpenAs) -> None:
    ada = open_as("ada")
    expect_people(ada, ada="looks at the list")
    bob = open_as("bob")
    for page in (ada, bob):
        expect_people(page, ada="looks at the list", bob="looks at the list")
    expect(ada.locator(".notice", has_text="bob came")).to_be_visible()


@pytest.mark.slow
def test_a_created_renamed_and_deleted_document_is_so_on_the_others_list_at_once(open_as: OpenAs) -> None:
    ada, bob = open_as("ada"), open_as("bob")
    bob.evaluate("window.same = true")
    title = create(ada)
    expect(row(bob, title)).to_contain_text("ada, just now")
    expect(bob.locator(".notice", has_text=f"ada created {title}")).to_be_visible()

    row(ada, title).get_by_role("button", name="Rename").click()
    ada.get_by_label("New title").fill("<b>Renamed</b>")
    ada.get_by_role("button", name="Rename").last.click()
    expect(row(bob, "<b>Renamed</b>")).to_have_count(1)
    expect(bob.locator(".notice", has_text="ada renamed")).to_contain_text(title)

    row(bob, "<b>Renamed</b>").get_by_role("button", name="Delete").click()
    bob.get_by_role("button", name="Delete").last.click()
    for page in (ada, bob):
        expect(row(page, "<b>Renamed</b>")).to_have_count(0)
    expect(ada.locator(".notice", has_text="bob deleted")).to_be_visible()
    assert bob.evaluate("window.same")


@pytest.mark.slow
def test_the_list_shows_who_reads_and_who_edits_what(open_as: OpenAs) -> None:
    ada, bob = open_as("ada"), open_as("bob")
    title = create(ada)
    enter(bob, title)
    expect(row(ada, title).get_by_title("bob is reading")).to_be_visible()
    expect_people(ada, ada="looks at the list", bob=f"reads {title}")
    bob.get_by_role("button", name="Edit").click()
    expect(row(ada, title).get_by_title("bob is editing")).to_be_visible()
    expect_people(ada, ada="looks at the list", bob=f"edits {title}")
    expect(ada.locator(".notice", has_text=f"bob is editing {title}")).to_be_visible()
    bob.get_by_role("button", name="Done").click()
    expect(row(ada, title).get_by_title("bob is reading")).to_be_visible()
    bob.get_by_label("All documents").click()
    expect(row(ada, title).locator(".reader")).to_have_count(0)
    expect_people(ada, ada="looks at the list", bob="looks at the list")


@pytest.mark.slow
def test_who_leaves_is_gone_when_the_last_window_is_closed(open_as: OpenAs) -> None:
    ada, first, second = open_as("ada"), open_as("bob"), open_as("bob")
    title = create(ada)
    enter(second, title)
    expect_people(ada, ada="looks at the list", bob=f"reads {title}")
    second.close()
    expect_people(ada, ada="looks at the list", bob="looks at the list")
    first.close()
    expect_people(ada, ada="looks at the list")
    expect(ada.locator(".notice", has_text="bob left")).to_be_visible()


@pytest.mark.slow
def test_a_save_appears_at_once_where_it_is_read(open_as: OpenAs) -> None:
    ada, bob = open_as("ada"), open_as("bob")
    title = create(ada)
    enter(ada, title)
    enter(bob, title)
    edit(ada, "The wheel\nturns. <i>Really.</i>")
    save(ada)
    expect(bob.locator("#text")).to_have_text("The wheel\nturns. <i>Really.</i>")
    expect(bob.locator("#saved")).to_contain_text("Saved by ada")
    expect(bob.locator(".notice", has_text=f"ada saved {title}")).to_be_visible()
    bob.reload()
    expect(bob.locator("#text")).to_have_text("The wheel\nturns. <i>Really.</i>")


def test_two_who_edit_one_document_are_warned_and_lose_nothing(open_as: OpenAs) -> None:
    ada, bob = open_as("ada"), open_as("bob")
    title = create(ada)
    for page in (ada, bob):
        enter(page, title)
    edit(ada, "ada's text")
    expect(ada.locator("#together")).to_be_hidden()
    edit(bob, "bob's text")
    expect(ada.locator("#together")).to_contain_text("bob is editing this document too")
    expect(bob.locator("#together")).to_contain_text("ada is editing this document too")

    save(bob)
    expect(ada.locator("#conflict")).to_contain_text("bob saved another text meanwhile")
    expect(ada.get_by_label("Text")).to_have_value("ada's text")
    expect(ada.get_by_role("button", name="Save")).to_be_disabled()
    ada.get_by_role("button", name="Keep mine").click()
    save(ada)
    # Bob has nothing unsaved, so he is shown it.
    expect(bob.get_by_label("Text")).to_have_value("ada's text")
    edit_more = "ada's text, and more"
    bob.get_by_label("Text").fill(edit_more)
    save(bob)
    expect(ada.get_by_label("Text")).to_have_value(edit_more)

    bob.get_by_role("button", name="Done").click()
    expect(ada.locator("#together")).to_be_hidden()


@pytest.mark.slow
def test_somebody_is_warned_of_a_second_window_of_their_own(open_as: OpenAs) -> None:
    one, two = open_as("ada"), open_as("ada")
    title = create(one)
    for page in (one, two):
        enter(page, title)
        page.get_by_role("button", name="Edit").click()
    for page in (one, two):
        expect(page.locator("#together")).to_contain_text("in another window")


@pytest.mark.slow
def test_a_reader_is_told_that_the_document_was_deleted(open_as: OpenAs) -> None:
    ada, bob = open_as("ada"), open_as("bob")
    title = create(ada)
    enter(bob, title)
    edit(bob, "last words")
    row(ada, title).get_by_role("button", name="Delete").click()
    ada.get_by_role("button", name="Delete").last.click()
    expect(bob.locator("#gone")).to_be_visible()
    expect(bob.get_by_label("Text")).to_have_value("last words")


@pytest.mark.slow
def test_presence_and_texts_are_right_again_after_the_web_server_went_away(open_as: OpenAs, demo: Project) -> None:
    ada, bob = open_as("ada"), open_as("bob")
    title = create(ada)
    enter(bob, title)
    edit(bob, "not saved yet")
    demo.web.kill()
    for page in (ada, bob):
        expect(page.locator("#connection")).not_to_have_text("Connected")
    expect(bob.get_by_role("button", name="Save")).to_be_disabled()
    demo.web.start()
    demo.wait_for_page()
    for page in (ada, bob):
        wait_connected(page)
    # The server that was killed told nobody that they left: they must be known again, and be there once.
    expect_people(ada, ada="looks at the list", bob=f"edits {title}")
    save(bob)
    bob.get_by_role("button", name="Done").click()
    expect_people(ada, ada="looks at the list", bob=f"reads {title}")
    ada.reload()
    expect_people(ada, ada="looks at the list", bob=f"reads {title}")


@pytest.mark.slow
def test_who_signs_out_in_one_window_is_out_in_the_other(open_as: OpenAs, browser: Browser, demo: Project) -> None:
    context = browser.new_context()
    ada, pages = open_as("ada"), [context.new_page(), context.new_page()]
    pages[0].goto(f"{demo.url}/documents/")
    pages[0].get_by_label("Name").fill("bob")
    pages[0].get_by_label("Password").fill(PASSWORDS["bob"])
    pages[0].get_by_role("button", name="Sign in").click()
    pages[1].goto(f"{demo.url}/documents/")
    for page in pages:
        wait_connected(page)
    expect_people(ada, ada="looks at the list", bob="looks at the list")
    pages[0].get_by_role("button", name="Sign out").click()
    expect(pages[0]).to_have_url(f"{demo.url}/")
    expect(pages[1]).to_have_url(re.compile("/sign-in/"))
    expect_people(ada, ada="looks at the list")
    context.close()


@pytest.mark.slow
@pytest.mark.parametrize("size", [(390, 844), (1280, 800)], ids=["phone", "desktop"])
def test_nothing_sticks_out_of_the_window(open_as: OpenAs, size: tuple[int, int]) -> None:
    ada, bob = open_as("ada"), open_as("bob")
    for page in (ada, bob):
        page.set_viewport_size({"width": size[0], "height": size[1]})
    title = create(ada)
    row(ada, title).get_by_role("button", name="Rename").click()
    ada.get_by_label("New title").fill("Averylongword" * 6)
    ada.get_by_role("button", name="Rename").last.click()
    enter(bob, "Averylongword" * 6)
    edit(bob, "averylongword" * 99)
    expect(row(ada, "Averylong").get_by_title("bob is editing").first).to_be_visible()
    for page in (ada, bob):
        assert not page.evaluate("document.documentElement.scrollWidth > innerWidth")
    box = ada.get_by_role("button", name="Sign out").bounding_box()
    assert box is not None
    assert min(box["width"], box["height"]) >= 44
    row(ada, "Averylong").first.get_by_role("button", name="Delete").click()
    ada.get_by_role("button", name="Delete").last.click()
    expect(row(ada, "Averylong")).to_have_count(0)
