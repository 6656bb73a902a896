"""The application: Django's ASGI handler for requests, consumers for WebSockets."""

from __future__ import annotations

import os

from django.core.asgi import get_asgi_application
from django.urls import path

from channels.routing import ProtocolTypeRouter, URLRouter

os.environ.setdefault("DJANGO_SETTINGS_MODULE", "project.settings")
django_application = get_asgi_application()

from .consumers import EchoConsumer, GroupConsumer  # noqa: E402  (Django must be set up)
from .studies import BytesConsumer  # noqa: E402

application = ProtocolTypeRouter(
    {
        "http": django_application,
        "websocket": URLRouter(
            [
                path("echo/", EchoConsumer.as_asgi()),
                path("group/", GroupConsumer.as_asgi()),
                path("bytes/", BytesConsumer.as_asgi()),
            ]
        ),
    }
)
