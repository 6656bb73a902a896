"""What ``daphne`` serves: ``demo.asgi:application``, as with Channels 4, or ``demo.asgi:channel_layer``.

Either way the routes in `demo.routing`, which are written for Channels 1, come first; a WebSocket that none of them
takes goes to `application`.
"""

from __future__ import annotations

import os

from django.core.asgi import get_asgi_application

os.environ.setdefault("DJANGO_SETTINGS_MODULE", "demo.settings")
django_application = get_asgi_application()  # sets Django up, which has to come before models are imported

from channels.asgi import get_channel_layer  # noqa: E402
from channels.auth import AuthMiddlewareStack  # noqa: E402
from channels.routing import ProtocolTypeRouter, URLRouter  # noqa: E402
from channels.security.websocket import AllowedHostsOriginValidator  # noqa: E402
from demo.whiteboard.routing import websocket_urlpatterns  # noqa: E402

application = ProtocolTypeRouter(
    {
        "http": django_application,
        "websocket": AllowedHostsOriginValidator(AuthMiddlewareStack(URLRouter(websocket_urlpatterns))),
    }
)
channel_layer = get_channel_layer()
