"""A Django project in this process, with a database of its own, and layers for each test."""

# ruff: noqa: E402 (models and what uses them can be imported only once Django is set up)

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

os.environ.setdefault("DJANGO_SETTINGS_MODULE", "tests.channels.settings")

import django

django.setup()

from django.core.management import call_command
from django.db import connections
from django.test.utils import setup_test_environment, teardown_test_environment

from channel_layer.memory import MemoryChannelLayer
from channels.configured_layers import ChannelLayerWrapper, channel_layers
from channels.runtime.sync_threads import SyncThreads
from workers.event_loop import EventLoop
from workers.streams import Streams, current_streams

from .coroutines import LoopLayer


@pytest.fixture(scope="session", autouse=True)
def _project(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    path = tmp_path_factory.mktemp("database") / "tests.sqlite3"
    connections["default"].close()
    connections["default"].settings_dict["NAME"] = str(path)
    setup_test_environment(debug=False)
    call_command("migrate", verbosity=0)
    yield
    teardown_test_environment()
    connections.close_all()
    Path(path).unlink()


@pytest.fixture
def database() -> Iterator[None]:
    """The database; sessions and users are gone afterwards."""
    yield
    from django.contrib.auth.models import User
    from django.contrib.sessions.models import Session

    Session.objects.all().delete()
    User.objects.all().delete()


@pytest.fixture
def layer() -> Iterator[Any]:
    """A memory layer of this test's own, which is also the default one."""
    wrapper = ChannelLayerWrapper(MemoryChannelLayer(), "default", [])
    before = channel_layers.set("default", wrapper)
    yield wrapper
    channel_layers.set("default", before)


@pytest.fixture
def streams(layer: Any) -> Iterator[Streams]:
    """Streams and an inbox, for consumers that the test calls as a worker's thread would."""
    loop, side = EventLoop(layer.aclose), SyncThreads(2)
    made = Streams(100, layer, loop, side)
    token = current_streams.set(made)
    yield made
    current_streams.reset(token)
    made.close()
    loop.close()
    side.close()


@pytest.fixture
def loop_layer(monkeypatch: pytest.MonkeyPatch) -> LoopLayer:
    """What consumers of Channels 4 get for the alias ``default``; for others there is no layer."""
    layer = LoopLayer()
    monkeypatch.setattr("channels.consumer.get_channel_layer", {"default": layer}.get)
    return layer


@pytest.fixture
def no_layer(monkeypatch: pytest.MonkeyPatch) -> None:
    """Consumers of Channels 4 find no layer."""
    monkeypatch.setattr("channels.consumer.get_channel_layer", lambda alias: None)
