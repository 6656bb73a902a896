"""The start page."""

from __future__ import annotations

from django.http import HttpRequest, HttpResponse
from django.shortcuts import render

from demo.chat.models import Room


def start(request: HttpRequest) -> HttpResponse:
    """What there is to see: each demonstration has a panel, included from its own application."""
    return render(request, "start.html", {"rooms": Room.objects.lively()[:8]})
