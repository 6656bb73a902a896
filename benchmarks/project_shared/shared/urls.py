"""One view, as small as a view can be."""

from __future__ import annotations

from django.http import HttpRequest, HttpResponse
from django.urls import path


def hello(request: HttpRequest) -> HttpResponse:
    """Say hello."""
    return HttpResponse("Hello, world.\n", content_type="text/plain")


urlpatterns = [path("", hello)]
