"""`channels.http.request_signals`: what happens around a request, whether or not somebody else listens."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import permutations
from typing import Any

import django.db
import pytest
from django.conf import settings
from django.core import cache, signals
from django.core.cache.backends.locmem import LocMemCache
from django.db import connection
from django.http import HttpRequest, HttpResponse
from django.test import override_settings
from django.test.utils import CaptureQueriesContext
from django.urls import get_urlconf, set_urlconf

from channels.handler import AsgiHandler
from channels.http import request_signals

Seen = list[tuple[str, Any, Any]]


@pytest.fixture
def heard() -> Iterator[Seen]:
    """What a receiver of both signals hears."""
    seen: Seen = []

    def started(sender: Any, message: Any, **kwargs: Any) -> None:
        seen.append(("started", sender, message))

    def finished(sender: Any, **kwargs: Any) -> None:
        seen.append(("finished", sender, None))

    signals.request_started.connect(started)
    signals.request_finished.connect(finished)
    yield seen
    signals.request_started.disconnect(started)
    signals.request_finished.disconnect(finished)


@pytest.fixture(params=["nobody listens", "somebody listens"])
def either_way(request: pytest.FixtureRequest) -> None:
    """What Django's own receivers do must happen in both cases."""
    if request.param == "somebody listens":
        request.getfixturevalue("heard")


def respond() -> Any:
    response: Any = HttpResponse("x")
    response._handler_class = AsgiHandler
    return response


def test_who_listens_hears_of_both_ends(heard: Seen) -> None:
    message = object()
    request_signals.send_started(AsgiHandler, message)
    request_signals.close(respond())
    assert heard == [("started", AsgiHandler, message), ("finished", AsgiHandler, None)]


@pytest.mark.usefixtures("either_way")
def test_the_queries_of_the_request_before_are_forgotten() -> None:
    with CaptureQueriesContext(connection), connection.cursor() as cursor:
        cursor.execute("SELECT 1")
    assert connection.queries_log
    request_signals.send_started(AsgiHandler, None)
    assert not connection.queries_log


@pytest.mark.usefixtures("either_way")
@pytest.mark.parametrize("end", ["start", "finish"])
def test_old_connections_are_closed(end: str) -> None:
    connection.ensure_connection()
    connection.close_at = 0.0
    if end == "start":
        request_signals.send_started(AsgiHandler, None)
    else:
        request_signals.close(respond())
    assert connection.connection is None


@pytest.mark.usefixtures("either_way")
def test_what_the_response_holds_is_closed_although_closing_one_part_fails() -> None:
    response, closed = respond(), []
    response._resource_closers += [lambda: 1 / 0, lambda: closed.append(1)]
    request_signals.close(response)
    assert closed == [1]
    assert response.closed
    assert response._resource_closers == []


@pytest.mark.usefixtures("either_way")
def test_the_urlconf_of_the_request_is_forgotten() -> None:
    set_urlconf("tests.channels.urls")
    request_signals.close(respond())
    assert get_urlconf() is None


@pytest.mark.parametrize("order", [*permutations(range(3))])
def test_the_order_in_which_django_connected_its_receivers_does_not_matter(
    order: tuple[int, ...], monkeypatch: pytest.MonkeyPatch
) -> None:
    # It depends on what a project imports first: ``manage.py runworker`` has had another one than these tests.
    receivers, sent = signals.request_finished.receivers, []
    assert len(receivers) == 3
    monkeypatch.setattr(signals.request_finished, "receivers", [receivers[place] for place in order])
    monkeypatch.setattr(signals.request_finished, "send", sent.append)
    request_signals.close(respond())
    assert sent == []


@pytest.mark.usefixtures("streams")
def test_a_worker_forgets_only_a_urlconf_of_the_request() -> None:
    for urlconf, after in (("of.one.request", None), (None, settings.ROOT_URLCONF)):
        request, response = HttpRequest(), respond()
        if urlconf is not None:
            request.urlconf = urlconf
        set_urlconf(urlconf or settings.ROOT_URLCONF)
        request_signals.forget_urlconf(request, response)
        request_signals.close(response)
        assert get_urlconf() == after, "consumers of the same message must not see the URLs of one request"
    set_urlconf(None)


@pytest.mark.usefixtures("either_way")
def test_caches_that_want_it_are_closed() -> None:
    closed = []

    class Counting(LocMemCache):
        def close(self, **kwargs: Any) -> None:
            closed.append(1)

    globals()["Counting"] = Counting
    with override_settings(CACHES={"default": {"BACKEND": f"{__name__}.Counting"}}):
        cache.cache.get("x")
        request_signals.close(respond())
        assert closed == [1]
    closed.clear()
    request_signals.close(respond())
    assert closed == []


def test_a_response_with_a_close_of_its_own_is_closed_by_that() -> None:
    closed = []

    class Own(HttpResponse):
        def close(self) -> None:
            closed.append("class")
            super().close()

    request_signals.close(Own())
    response: Any = HttpResponse()
    response.close = lambda: closed.append("instance")
    request_signals.close(response)
    assert closed == ["class", "instance"]


def test_what_a_project_takes_from_the_signals_is_not_done() -> None:
    signals.request_finished.disconnect(django.db.close_old_connections)
    try:
        connection.ensure_connection()
        connection.close_at = 0.0
        request_signals.close(respond())
        assert connection.connection is not None
    finally:
        connection.close()
        signals.request_finished.connect(django.db.close_old_connections)
