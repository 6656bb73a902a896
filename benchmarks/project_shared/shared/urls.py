"""One view, as small as a view can be, and two for large bodies."""

from __future__ import annotations

from django.http import HttpRequest, HttpResponse
from django.urls import path

from .bodies import download, upload


def hello(request: HttpRequest) -> HttpResponse:
    """Say hello."""
    return HttpResponse("Hello, world.\n", content_type="text/plain")


urlpatterns = [path("", hello), path("upload/", upload), path("download/", download)]
