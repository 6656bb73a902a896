"""The dashboard in a browser, beside the demo's processes."""

from __future__ import annotations

import os
import re
import subprocess
from typing import Any

import pytest
from playwright.sync_api import expect
from websockets.sync.client import connect

from tests.conftest import wait_until
from tests.end_to_end.processes import ROOT, Project

pytestmark = [pytest.mark.browser, pytest.mark.slow]

WAIT = 60_000
"""Milliseconds until processes have started or count as lost, on a busy machine."""

PASSWORD = "only-in-this-test"


@pytest.fixture(scope="module")
def staff(demo: Project) -> str:
    subprocess.run(
        [*demo.manage, "createsuperuser", "--noinput", "--username", "staff", "--email", "staff@example.com"],
        cwd=ROOT,
        env=os.environ | demo.environment | {"DJANGO_SUPERUSER_PASSWORD": PASSWORD},
        check=True,
        timeout=300,
        stdout=subprocess.DEVNULL,
    )
    return "staff"


@pytest.fixture
def open_as_staff(open_page: Any, staff: str) -> Any:
    """``open_as_staff(path)``: a page of the dashboard, after the log-in."""

    def open_as_staff(path: str) -> Any:
        page = open_page(path)
        page.locator("input[name=username]").fill(staff)
        page.locator("input[name=password]").fill(PASSWORD)
        page.locator("input[name=password]").press("Enter")
        return page

    return open_as_staff


def test_somebody_of_the_staff_finds_a_connection_watches_it_and_closes_it(demo: Project, open_as_staff: Any) -> None:
    demo.wait_for_page("/chat/lobby/")  # which makes the room
    with connect(f"ws{demo.url[4:]}/chat/lobby/?name=Ada", origin=demo.url) as socket:  # type: ignore[arg-type]
        page = open_as_staff("/millrace/connections/")
        expect(page.locator("#live")).to_have_text("live", timeout=WAIT)
        rows = page.locator("#connections tbody tr")
        page.locator("input[name=group]").fill("nobody-is-here")
        expect(rows).to_have_text(["No open connection fits."], timeout=WAIT)
        expect(page.locator("#close")).to_be_hidden()
        page.locator("input[name=group]").fill("")
        page.locator("input[name=path]").fill("/chat/lob")
        expect(page.locator("#count")).to_have_text("1 connection", timeout=WAIT)
        expect(rows).to_contain_text(["chat-lobby"])
        page.locator("#close").click()
        expect(page.locator("#question")).to_have_text("Close 1 WebSocket with path /chat/lob?")
        page.locator("#keep").click()
        page.locator("#connections a").click()
        expect(page.locator("#path")).to_have_text("/chat/lobby/", timeout=WAIT)
        expect(page.locator("#hint")).to_contain_text("From now on its events are kept", timeout=WAIT)
        socket.send('{"text": "hello"}')
        expect(page.locator("#events li.in")).to_contain_text(["frame from client"], timeout=WAIT)
        assert "hello" not in page.content()
        page.locator("#close").click()
        page.locator("[name=code]").fill("4001")
        page.locator("dialog [type=submit]").click()
        expect(page.locator("#live")).to_have_text("closed", timeout=WAIT)
        expect(page.locator("#notices")).to_have_text("1 WebSocket closed.")
        expect(page.locator("#close")).to_be_hidden()
        wait_until(lambda: socket.close_code == 4001, "the close")


@pytest.mark.slow
def test_somebody_of_the_staff_sees_processes_come_and_go(demo: Project, open_as_staff: Any) -> None:
    page = open_as_staff("/millrace/")
    expect(page.locator("#live")).to_have_text("live", timeout=WAIT)
    rows = page.locator("#processes .row")
    expect(rows).to_have_count(3, timeout=WAIT)
    expect(page.locator("#channels tr", has_text="websocket.receive")).to_contain_text("2 workers", timeout=WAIT)
    demo.wait_for_page("/chat/lobby/")  # which makes the room
    with connect(f"ws{demo.url[4:]}/chat/lobby/?name=Ada", origin=demo.url):  # type: ignore[arg-type]
        expect(page.locator("#sockets tr", has_text="/chat/lobby/")).to_contain_text("1", timeout=WAIT)
    expect(page.locator("#sockets")).to_contain_text("No WebSocket is open.", timeout=WAIT)
    stopped = demo.workers[0].running.pid
    demo.workers[0].stop()
    demo.workers[0].start()
    expect(rows.filter(has_text=str(stopped))).to_contain_text("ended", timeout=WAIT)
    expect(rows.filter(has=page.get_by_text(re.compile("running")))).to_have_count(3, timeout=WAIT)
    demo.workers[1].kill()
    expect(page.locator("#notices")).to_contain_text("1 of the processes ended without saying so", timeout=WAIT)
    demo.workers[1].start()
    expect(rows.filter(has=page.get_by_text(re.compile("running")))).to_have_count(3, timeout=WAIT)
