"""Views of the dashboard's first page."""

from __future__ import annotations

import asyncio
import json
import time
from collections.abc import AsyncIterator

from django.http import HttpRequest, HttpResponse, StreamingHttpResponse
from django.http.response import HttpResponseBase
from django.shortcuts import render

from channel_layer.facts import BOUNDS, REPORT_SECONDS

from . import snapshots
from .access import dashboard_layer, for_staff

STREAM_SECONDS = 300.0
"""Duration of a stream. The page opens another, for which the user is looked at again."""


@for_staff
def page(request: HttpRequest) -> HttpResponse:
    """The page; its figures come through `events`."""
    return render(request, "channels/dashboard/page.html", {"every": REPORT_SECONDS, "bounds": json.dumps(BOUNDS)})


@for_staff
def events(request: HttpRequest) -> HttpResponseBase:
    """Snapshots as server-sent events, one as often as processes report."""
    response = StreamingHttpResponse(_stream(), content_type="text/event-stream")
    response["X-Accel-Buffering"] = "no"  # nginx would hold them back
    return response


async def _stream() -> AsyncIterator[str]:
    until = time.monotonic() + STREAM_SECONDS
    yield "retry: 2000\n\n"
    while time.monotonic() < until:
        yield f"data: {await snapshots.take(dashboard_layer())}\n\n"
        await asyncio.sleep(REPORT_SECONDS)
