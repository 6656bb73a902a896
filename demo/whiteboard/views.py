"""Pages of the whiteboard."""

from __future__ import annotations

from django.http import Http404, HttpRequest, HttpResponse, HttpResponseRedirect, JsonResponse
from django.shortcuts import redirect, render

from demo.processes.control import may_control
from demo.whiteboard.consumers import NAME_LENGTH
from demo.whiteboard.models import HIGH, POINTS_MOST, WIDE, WIDTHS, Board, Color, Stroke

FIRST = "mill"
"""The board that the start page shows. There are others as soon as somebody goes to their addresses."""

PREVIEW = 100
"""Strokes that the start page shows of it."""


def first(request: HttpRequest) -> HttpResponseRedirect:
    """Lead to the first board."""
    return redirect("board", FIRST)


def board(request: HttpRequest, slug: str) -> HttpResponse:
    """A board. The first visit makes it. The strokes come over its WebSocket."""
    longest = Board._meta.get_field("slug").max_length or 0
    if len(slug) > longest:
        raise Http404(f"The name of a board has at most {longest} characters.")
    found, _ = Board.objects.get_or_create(slug=slug)
    context = {
        "board": found,
        "colors": Color,
        "widths": WIDTHS,
        "wide": WIDE,
        "high": HIGH,
        "points_most": POINTS_MOST,
        "name_length": NAME_LENGTH,
        "may_restart": may_control(request),
    }
    return render(request, "whiteboard/board.html", context)


def strokes(request: HttpRequest, slug: str) -> JsonResponse:
    """The newest strokes of a board, oldest first; none of a board that nobody has been to."""
    newest = Stroke.objects.filter(board__slug=slug, visible=True).order_by("-id")[:PREVIEW]
    return JsonResponse({"drawn": [stroke.as_dict() for stroke in reversed(newest)]})
