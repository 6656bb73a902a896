"""Views of the dashboard. Staff sees it, visitors are sent to log in, and for all others there is no such page."""

from __future__ import annotations

import asyncio
import functools
import json
import time
from collections.abc import AsyncIterator, Callable
from typing import Any

from django.conf import settings
from django.contrib.auth.views import redirect_to_login
from django.http import Http404, HttpRequest, HttpResponse, StreamingHttpResponse
from django.http.response import HttpResponseBase
from django.shortcuts import render, resolve_url
from django.urls import NoReverseMatch, reverse
from django.views.decorators.cache import never_cache
from django.views.decorators.http import require_safe

from channel_layer.facts import BOUNDS, REPORT_SECONDS
from channel_layer.registry import DEFAULT_CHANNEL_LAYER
from channels.configured_layers import channel_layers

from . import snapshots

STREAM_SECONDS = 300.0
"""Duration of a stream. The page opens another, for which the user is looked at again."""

View = Callable[[HttpRequest], HttpResponseBase]


def _for_staff(view: View) -> View:
    @functools.wraps(view)
    def wrapped(request: HttpRequest) -> HttpResponseBase:
        user: Any = request.user
        if user.is_active and user.is_staff:
            return view(request)
        if user.is_authenticated:
            raise Http404
        return redirect_to_login(request.get_full_path(), _login_url())

    return never_cache(require_safe(wrapped))


def _login_url() -> str:
    """The project's own page to log in, or else that of the admin."""
    try:
        return resolve_url(settings.LOGIN_URL)
    except NoReverseMatch:
        return reverse("admin:login")


@_for_staff
def page(request: HttpRequest) -> HttpResponse:
    """The page; its figures come through `events`."""
    return render(request, "channels/dashboard/page.html", {"every": REPORT_SECONDS, "bounds": json.dumps(BOUNDS)})


@_for_staff
def snapshot(request: HttpRequest) -> HttpResponseBase:
    """One snapshot as JSON."""
    return HttpResponse(snapshots.take(_layer()), content_type="application/json")


@_for_staff
def events(request: HttpRequest) -> HttpResponseBase:
    """Snapshots as server-sent events, one as often as processes report."""
    response = StreamingHttpResponse(_stream(), content_type="text/event-stream")
    response["X-Accel-Buffering"] = "no"  # nginx would hold them back
    return response


async def _stream() -> AsyncIterator[str]:
    until = time.monotonic() + STREAM_SECONDS
    yield "retry: 2000\n\n"
    while time.monotonic() < until:
        yield f"data: {await snapshots.atake(_layer())}\n\n"
        await asyncio.sleep(REPORT_SECONDS)


def _layer() -> Any:
    return channel_layers[DEFAULT_CHANNEL_LAYER]
