"""`channels.dashboard`: who sees it, what it says, and the figures that its script makes of it."""

from __future__ import annotations

import asyncio
import json
import re
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from django.apps import apps
from django.contrib.auth.management import create_permissions
from django.contrib.auth.models import Permission, User
from django.test import Client, override_settings
from django.urls import include, path, reverse
from websockets.sync.client import connect

from channel_layer.exceptions import LayerUnavailable
from channel_layer.facts import BOUNDS
from channel_layer.memory import MemoryChannelLayer
from channels import channel_layers
from channels.dashboard import snapshots, views
from tests.conftest import wait_until
from tests.interface_server.helpers import running

from .documents import run_examples

FIGURES = Path(views.__file__).parent / "static/channels/dashboard/figures.js"

dashboard = path("millrace/", include("channels.dashboard.urls"))
log_in = path("log-in/", views.page, name="login")
urlpatterns = [dashboard, log_in]

WEB = {"kind": "web", "started": 1.0, "state": "running", "frames": 7, "sockets": {"/a": 2}}


@pytest.fixture(autouse=True)
def settings() -> Iterator[None]:
    import tests.channels.settings as own

    with override_settings(
        ROOT_URLCONF=__name__, LOGIN_URL="/log-in/", INSTALLED_APPS=[*own.INSTALLED_APPS, "channels.dashboard"]
    ):
        yield


@pytest.fixture
def layer() -> Iterator[MemoryChannelLayer]:
    layer = MemoryChannelLayer()
    before = channel_layers.set("default", layer)
    yield layer
    channel_layers.set("default", before)


def client_of(**flags: bool) -> Client:
    client = Client()
    client.force_login(User.objects.create(username="somebody", **flags))
    return client


PATHS = [
    "/millrace/",
    "/millrace/events/",
    "/millrace/connections/",
    "/millrace/connections/found/",
    "/millrace/connection/",
    "/millrace/connection/now/",
]
PAGES = ["/millrace/", "/millrace/connections/", "/millrace/connection/?name=daphne.x!y"]


@pytest.mark.usefixtures("database")
@pytest.mark.parametrize("url", PATHS)
def test_visitors_are_sent_to_log_in(url: str) -> None:
    response = Client().get(url)
    assert (response.status_code, response["Location"]) == (302, f"/log-in/?next={url}")


@pytest.mark.usefixtures("database")
@pytest.mark.parametrize("url", PATHS)
@pytest.mark.parametrize("flags", [{}, {"is_staff": True, "is_active": False}], ids=["not staff", "not active"])
def test_for_others_there_is_no_such_page(url: str, flags: dict[str, bool]) -> None:
    client = Client()
    user = User.objects.create(username="somebody", **flags)
    client.force_login(user, backend="django.contrib.auth.backends.AllowAllUsersModelBackend")
    with override_settings(AUTHENTICATION_BACKENDS=["django.contrib.auth.backends.AllowAllUsersModelBackend"]):
        assert client.get(url).status_code == 404


@pytest.mark.usefixtures("database")
@pytest.mark.parametrize("url", PAGES)
def test_a_page_has_no_script_or_style_of_its_own_so_that_a_strict_policy_allows_it(url: str) -> None:
    response = client_of(is_staff=True, is_superuser=True).get(url)
    text = response.content.decode()
    assert response.status_code == 200
    assert re.findall(r"<script[^>]*>([^<]+)</script>|<style|style=|\son\w+=|https?://(?!www\.w3)", text) == []
    assert "no-store" in response["Cache-Control"]
    assert ('data-events="/millrace/events/"' in text) is (url == PAGES[0])


@pytest.mark.usefixtures("database")
def test_connections_are_found_shown_and_closed(layer: MemoryChannelLayer) -> None:
    client = client_of(is_staff=True, is_superuser=True)
    assert "no web server reports" in client.get("/millrace/connections/found/").json()["error"]
    with running(layer=layer) as server, connect(server.url("/chat/")) as socket:
        wait_until(layer.reports, "a report")
        found = client.get("/millrace/connections/found/", {"path": "/chat/"}).json()
        assert (found["count"], found["problems"]) == (1, [])
        name = found["connections"][0]["name"]
        assert client.get("/millrace/connections/found/", {"path": "/other/", "requests": 1}).json()["count"] == 0
        assert client.get("/millrace/connection/now/", {"name": name}).json()["connection"]["path"] == "/chat/"
        order = {"name": name, "code": "4001", "reason": "bye"}
        for wrong in ({"code": "1006"}, {"code": "many"}, {"reason": "x" * 124}, {"name": " "}):
            response = client.post("/millrace/connections/close/", order | wrong)
            assert (response.status_code, list(response.json())) == (400, ["error"])
        assert client.post("/millrace/connections/close/", order).json() == {"closed": 1, "problems": []}
        wait_until(lambda: socket.close_code == 4001, "the close")
        gone = wait_until(lambda: client.get("/millrace/connection/now/", {"name": name}).json().get("gone"), "the end")
        assert gone is True
    assert client.post("/millrace/connections/close/", order).status_code == 502


@pytest.mark.usefixtures("database")
def test_to_close_takes_a_permission_a_form_of_the_page_and_a_post(layer: MemoryChannelLayer) -> None:
    create_permissions(apps.get_app_config("channels_dashboard"), verbosity=0)
    url, order = "/millrace/connections/close/", {"path": "/chat/"}
    staff = client_of(is_staff=True)
    assert staff.get(url).status_code == 405
    refused = staff.post(url, order)
    assert (refused.status_code, refused.json()["error"]) == (
        403,
        "this needs the permission channels_dashboard.close_connection",
    )
    assert b'id="close"' not in staff.get("/millrace/connections/").content
    user = User.objects.get(username="somebody")
    user.user_permissions.add(Permission.objects.get(codename="close_connection"))
    assert b'id="close"' in staff.get("/millrace/connections/").content
    assert staff.post(url, order).status_code == 502, "there is no web server to ask"
    strict = Client(enforce_csrf_checks=True)
    strict.force_login(user)
    assert strict.post(url, order).status_code == 403
    assert strict.post(url, order, headers={"x-csrftoken": "x" * 32}).status_code == 403
    strict.get("/millrace/connections/")
    token = strict.cookies["csrftoken"].value
    assert strict.post(url, {**order, "csrfmiddlewaretoken": token}).status_code == 502
    assert Client().post(url, order).status_code == 302


def test_the_guide() -> None:
    names = run_examples("dashboard.md", "guide", include=include, path=path)
    assert "channels.dashboard" in names["INSTALLED_APPS"]
    with override_settings(ROOT_URLCONF=tuple(names["urlpatterns"][1:])):
        assert reverse("millrace:dashboard") == "/millrace/"


@pytest.mark.usefixtures("database")
def test_the_page_is_for_reading_alone() -> None:
    assert client_of(is_staff=True).post("/millrace/").status_code == 405


def test_a_snapshot_has_each_process_with_its_verdict(layer: MemoryChannelLayer) -> None:
    layer.publish_report("worker.1", {"kind": "worker", "state": "ended", "channels": ["a"]})
    layer.publish_report("daphne.1", WEB)
    layer.publish_report("from-the-future", {"format": 99})
    found = json.loads(asyncio.run(snapshots.take(layer)))
    assert found["layer"] == layer.describe()
    shown = [(process["name"], process["kind"], process["verdict"]) for process in found["processes"]]
    assert shown == [
        ("daphne.1", "web", "running"),
        ("from-the-future", "unknown", "running"),
        ("worker.1", "worker", "ended"),
    ]
    assert found["processes"][0]["sockets"] == {"/a": 2}


@pytest.mark.usefixtures("database")
def test_events_are_snapshots(layer: MemoryChannelLayer) -> None:
    layer.publish_report("daphne.1", WEB)
    response: Any = client_of(is_staff=True).get("/millrace/events/")
    assert response["Content-Type"] == "text/event-stream"

    async def first_two() -> list[bytes]:
        parts = aiter(response)
        return [await anext(parts), await anext(parts)]

    retry, event = asyncio.run(first_two())
    assert retry == b"retry: 2000\n\n"
    assert event.startswith(b"data: ")
    assert event.endswith(b"\n\n")
    assert json.loads(event[6:])["processes"][0]["name"] == "daphne.1"
    response.close()


class _Old(MemoryChannelLayer):
    extensions = ["groups"]


class _Away(MemoryChannelLayer):
    async def areports(self) -> Any:
        raise LayerUnavailable("redis://secret-host", "nobody is there")


@pytest.mark.parametrize(
    ("layer", "words"), [(_Old(), snapshots.NO_REPORTS), (_Away(), "nobody is there")], ids=["old", "away"]
)
def test_why_there_is_nothing_to_see_is_said(layer: Any, words: str) -> None:
    found = json.loads(asyncio.run(snapshots.take(layer)))
    assert words in found["error"]
    assert "processes" not in found


def figures(now: Any, before: Any, seconds: float = 2) -> Any:
    """What the page's script makes of two snapshots."""
    node = shutil.which("node")
    if node is None:
        pytest.skip("node is not installed")
    program = f"""
        const {{ compare }} = require({json.dumps(str(FIGURES))});
        const figures = compare({json.dumps(now)}, {json.dumps(before)}, {seconds}, {json.dumps(BOUNDS)});
        for (const name of ["channels", "consumers", "paths", "ends"]) {{
            figures[name] = Object.fromEntries(figures[name]);
        }}
        console.log(JSON.stringify(figures));
    """
    result = subprocess.run([node, "-e", program], capture_output=True, text=True, timeout=30)
    assert result.returncode == 0, result.stderr
    return json.loads(result.stdout)


def histogram(**counts: int) -> dict[str, Any]:
    """A histogram by the places of its ranges, as ``at3=7``."""
    table = [0] * (len(BOUNDS) + 1)
    for place, count in counts.items():
        table[int(place[2:])] = count
    return {"counts": table, "sum": float(sum(table))}


def web(name: str, verdict: str = "running", **more: Any) -> dict[str, Any]:
    return {"name": name, "kind": "web", "verdict": verdict, "age": 0, **more}


def test_rates_and_quantiles_are_those_between_two_snapshots() -> None:
    before = {"processes": [web("a", frames=100, deliveries=5, requests={"200": 4}, turn_seconds=histogram(at0=1_000))]}
    after = {
        "processes": [
            web(
                "a", frames=120, deliveries=9, requests={"200": 6, "503": 2}, turn_seconds=histogram(at0=1_000, at3=10)
            ),
            web("b", frames=4, sockets={"/x": 3}),
        ]
    }
    found = figures(after, before)
    assert (found["frames"], found["deliveries"], found["requests"], found["sockets"]) == (12, 2, 2, 3)
    assert BOUNDS[2] < found["turn95"] <= BOUNDS[3]


def test_a_process_that_is_gone_counts_no_open_sockets_and_nothing_negative() -> None:
    before = {"processes": [web("a", frames=100, sockets={"/x": 3})]}
    found = figures({"processes": [web("a", "lost", frames=90, sockets={"/x": 3})]}, before)
    assert (found["frames"], found["sockets"], found["paths"]) == (0, 0, {})


def test_the_first_snapshot_shows_no_rate_of_all_that_was_before() -> None:
    assert figures({"processes": [web("a", frames=100)]}, None)["frames"] == 0


def test_channels_and_consumers_of_all_workers_are_put_together() -> None:
    def worker(name: str, **more: Any) -> dict[str, Any]:
        return {"name": name, "kind": "worker", "verdict": "running", "age": 0, "channels": ["c"], **more}

    run = {"outcomes": {"ok": 3, "failed": 1}, "seconds": histogram(at5=4)}
    error = {"at": 5, "error": "ValueError", "consumer": "app.run", "channel": "c", "traceback": "…"}
    part = {
        "messages": {"c": {"ok": 3, "failed": 1}}, "consumers": {"app.run": run}, "waited": {"c": histogram(at2=4)},
        "errors_count": {"ValueError": 1}, "errors": [error], "lost": {"full": 2},
    }  # fmt: skip
    before = {"processes": [worker("one"), worker("two")]}
    found = figures({"processes": [worker("one", **part), worker("two", **part)]}, before)
    channel, consumer = found["channels"]["c"], found["consumers"]["app.run"]
    assert (channel["done"], channel["failed"], channel["listening"]) == (8, 2, 2)
    assert (consumer["runs"], consumer["all"], consumer["failed"]) == (8, 8, 2)
    assert (found["errors"], found["lost"], len(found["recent"])) == (2, 4, 2)
    assert found["ends"]["full"] == {"lost": True, "count": 4}
