"""WebSockets of the whiteboard, as a `URLRouter` takes them."""

from __future__ import annotations

from django.urls import path

from demo.whiteboard.consumers import BoardConsumer

websocket_urlpatterns = [path("whiteboard/<slug:slug>/", BoardConsumer.as_asgi())]  # type: ignore[arg-type]
