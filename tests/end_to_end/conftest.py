"""Fixtures of the end-to-end tests: brokers, the demo being served, a browser."""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterator
from typing import Any

import pytest
from playwright.sync_api import Browser, Error, Page, expect, sync_playwright

from tests.end_to_end.layers import environment_of
from tests.end_to_end.processes import Project

BROWSERS = ("chromium", "chromium-browser", "google-chrome", "google-chrome-stable")
BROWSER_OPTIONS = ["--no-sandbox", "--disable-gpu", "--disable-background-networking", "--disable-dev-shm-usage"]
WAIT_MILLISECONDS = 60_000
expect.set_options(timeout=WAIT_MILLISECONDS)  # five seconds by default, which a busy machine may stand still

FIRST_BROKER, SECOND_BROKER, OTHER_BROKERS = "redis", "sqlite", ["postgres", "rabbitmq"]


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    """Choose the brokers: both, but the first alone for what a browser shows, where none of what is asserted is theirs.

    A few browser tests are marked ``both_brokers``: they show that pages get along with the second, too. Some of them
    are marked ``other_brokers`` besides. With names in ``BROKERS`` all run on these.
    """
    if "broker" in metafunc.fixturenames:
        marked = metafunc.definition.get_closest_marker
        first_alone = "browser" in metafunc.fixturenames and not marked("both_brokers")
        brokers = [FIRST_BROKER] if first_alone else [FIRST_BROKER, SECOND_BROKER]
        if marked("other_brokers"):
            brokers += OTHER_BROKERS
        brokers = os.environ.get("BROKERS", "").split() or brokers
        metafunc.parametrize("broker", brokers, indirect=True, scope="module")


@pytest.hookimpl(tryfirst=True)
def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Leave what repeats on the second broker to ``make test-all``, all but a few that show that it works at all."""
    for item in items:
        parameters = getattr(item, "callspec", None)
        on_second = parameters is not None and parameters.params.get("broker") == SECOND_BROKER
        if on_second and item.get_closest_marker("both_brokers") is None:
            item.add_marker(pytest.mark.slow)


@pytest.fixture(scope="module")
def broker(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> dict[str, str]:
    """The environment that gives a project its channel layer: a server of that kind, or a file."""
    return environment_of(request.param, request, tmp_path_factory.mktemp("layer"))


@pytest.fixture(scope="module")
def demo(broker: dict[str, str], tmp_path_factory: pytest.TempPathFactory) -> Iterator[Project]:
    """The demo, served by a ``daphne`` and two workers."""
    environment = broker | {"DJANGO_SETTINGS_MODULE": "tests.fixtures.quick_demo"}
    with Project("demo", tmp_path_factory.mktemp("demo"), environment) as project:
        yield project


@pytest.fixture(autouse=True)
def logs_on_failure(request: pytest.FixtureRequest) -> Iterator[None]:
    """Put the processes' logs into the report of a test that fails."""
    failed_before = request.session.testsfailed
    yield
    project = next((request.getfixturevalue(name) for name in ("demo", "files") if name in request.fixturenames), None)
    if project is not None and request.session.testsfailed > failed_before:
        print(project.logs())


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    """A headless Chromium.

    It lives as long as a module and not longer: Playwright keeps an event loop in the main thread, which other
    modules' tests could not bear.
    """
    path = os.environ.get("CHROMIUM") or next(filter(None, map(shutil.which, BROWSERS)), None)
    with sync_playwright() as playwright:
        try:
            browser = playwright.chromium.launch(executable_path=path, args=BROWSER_OPTIONS)
        except Error as error:
            message = f"these tests need Chromium (for example: sudo apt install chromium): {error}"
            if os.environ.get("CI"):
                pytest.fail(message)
            pytest.skip(message)
        yield browser
        browser.close()


@pytest.fixture
def open_page(browser: Browser, demo: Project) -> Iterator[Any]:
    """``open_page(path)``: a page of the demo in a window of somebody of their own; no script error is let pass."""
    contexts = []
    errors: list[str] = []

    def open_page(path: str, name: str = "Ada") -> Page:
        context = browser.new_context()
        context.set_default_timeout(WAIT_MILLISECONDS)
        context.add_init_script(f"localStorage.setItem('chat-name', JSON.stringify('{name}'))")
        contexts.append(context)
        page = context.new_page()
        page.on("pageerror", lambda error: errors.append(str(error)))
        page.goto(demo.url + path)
        return page

    yield open_page
    for context in contexts:
        context.close()
    assert errors == []
