"""Pages of the chat."""

from __future__ import annotations

from django.http import Http404, HttpRequest, HttpResponse, HttpResponseRedirect
from django.shortcuts import redirect, render
from django.urls import reverse
from django.utils.text import slugify

from demo.chat.models import NAME_LENGTH, SLUG_LENGTH, TEXT_LENGTH, Room

HISTORY = 50
"""How many messages a room shows to somebody who comes in."""


def rooms(request: HttpRequest) -> HttpResponseRedirect:
    """Lead from the form on the start page (``?room=…``) to the room it names."""
    slug = slugify(request.GET.get("room", "").replace("_", "-"))[:SLUG_LENGTH].strip("-")
    return redirect("room", slug) if slug else redirect(f"{reverse('start')}#rooms")


def room(request: HttpRequest, slug: str) -> HttpResponse:
    """A room. The first visit makes it."""
    if len(slug) > SLUG_LENGTH:
        raise Http404(f"A room's name has at most {SLUG_LENGTH} characters.")
    room, _ = Room.objects.get_or_create(slug=slug)
    context = {
        "room": room,
        "history": [message.as_dict() for message in room.newest(HISTORY)],
        "name_length": NAME_LENGTH,
        "text_length": TEXT_LENGTH,
    }
    return render(request, "chat/room.html", context)
