"""The start page."""

from __future__ import annotations

from django.http import HttpRequest, HttpResponse
from django.shortcuts import render

from demo.chat.models import Room
from demo.documents.models import Document
from demo.prices.models import Coin
from demo.processes.control import NAMES, may_control
from demo.whiteboard.views import FIRST


def start(request: HttpRequest) -> HttpResponse:
    """What there is to see: each demonstration has a panel, included from its own application."""
    context = {
        "rooms": Room.objects.lively()[:6],
        "coins": Coin,
        "document_count": Document.objects.count(),
        "first_board": FIRST,
        "processes": NAMES if may_control(request) else (),
    }
    return render(request, "start.html", context)
