"""The ``asgi.py`` of the test project, as any ASGI server loads it."""

from __future__ import annotations

import os

from channels.asgi import get_asgi_application

os.environ.setdefault("DJANGO_SETTINGS_MODULE", "tests.channels.settings")
application = get_asgi_application()
