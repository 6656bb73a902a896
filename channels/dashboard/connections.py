"""Views of connections: a search, one of them, and closing."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from django.http import HttpRequest, JsonResponse
from django.http.response import HttpResponseBase
from django.shortcuts import render
from django.views.decorators.csrf import csrf_protect

from channel_layer.facts import REPORT_SECONDS
from channel_layer.questions import MOST_REASON, may_be_sent
from channels.operations import close as closing
from channels.operations import connection, connections
from channels.operations.asking import AskingError, LayerAwayError

from .access import dashboard_layer, for_staff, steers_for_staff

LIMIT = 200
"""Connections in a list; all are counted."""

PERMISSION = "channels_dashboard.close_connection"

FILTERS = ("path", "user", "group")


@for_staff
@csrf_protect
def page(request: HttpRequest) -> HttpResponseBase:
    """The search."""
    return render(request, "channels/dashboard/connections.html", _context(request))


@for_staff
def found(request: HttpRequest) -> HttpResponseBase:
    """Connections that fit, as JSON."""
    try:
        kind = "" if request.GET.get("requests") else "websocket"
        return JsonResponse(connections.find(dashboard_layer(), LIMIT, kind=kind, **_asked(request.GET)))
    except AskingError as error:
        return JsonResponse({"error": str(error)})


@for_staff
@csrf_protect
def one(request: HttpRequest) -> HttpResponseBase:
    """The life of one connection."""
    context = {**_context(request), "name": request.GET.get("name", "")}
    return render(request, "channels/dashboard/connection.html", context)


@for_staff
def now(request: HttpRequest) -> HttpResponseBase:
    """All that is known of it, as JSON; ``gone`` if it is closed."""
    try:
        return JsonResponse(connection.find(dashboard_layer(), request.GET.get("name", "")))
    except AskingError as error:
        return JsonResponse({"error": str(error), "gone": not isinstance(error, LayerAwayError)})


@steers_for_staff
def close(request: HttpRequest) -> HttpResponseBase:
    """Close one, or all that fit."""
    if not _may_close(request):
        return _refusal(403, f"this needs the permission {PERMISSION}")
    asked = _asked(request.POST) | {"name": request.POST.get("name", "").strip()}
    if not any(asked.values()):
        return _refusal(400, "say which connections: by a name, a path, a user or a group")
    code, reason = request.POST.get("code") or "1000", request.POST.get("reason", "")
    if not (code.isascii() and code.isdigit() and may_be_sent(int(code))):
        return _refusal(400, "the code must be 1000 to 4999, and not 1004, 1005, 1006 or 1015")
    if len(reason.encode()) > MOST_REASON:
        return _refusal(400, f"the reason must have at most {MOST_REASON} bytes")
    try:
        return JsonResponse(closing.close(dashboard_layer(), int(code), reason, **asked))
    except AskingError as error:
        return _refusal(502, str(error))


def _refusal(status: int, sentence: str) -> JsonResponse:
    return JsonResponse({"error": sentence}, status=status)


def _asked(query: Mapping[str, Any]) -> dict[str, str]:
    return {key: str(query.get(key, "")).strip() for key in FILTERS}


def _may_close(request: HttpRequest) -> bool:
    user: Any = request.user
    return bool(user.has_perm(PERMISSION))


def _context(request: HttpRequest) -> dict[str, object]:
    return {"every": REPORT_SECONDS, "may_close": _may_close(request), "most_reason": MOST_REASON}
