"""The way to whatever runs the demo's processes (``scripts/demo_processes.py``)."""

from __future__ import annotations

import ipaddress
import socket

from django.conf import settings
from django.http import HttpRequest

NAMES = ("web", "worker", "prices")
"""The processes of the Procfile."""


def may_control(request: HttpRequest) -> bool:
    """Whether a request may restart a process: while DEBUG is on, from this machine, under ``make demo``."""
    if not settings.DEBUG or not settings.DEMO_CONTROL:
        return False
    try:
        return ipaddress.ip_address(request.META.get("REMOTE_ADDR", "")).is_loopback
    except ValueError:
        return False


def restart(name: str) -> str:
    """Have a process restarted; the result is ``ok``, or a sentence that says why not."""
    try:
        with socket.socket(socket.AF_UNIX) as connection:
            connection.settimeout(5)
            connection.connect(settings.DEMO_CONTROL)
            with connection.makefile("rw") as stream:
                stream.write(f"restart {name}\n")
                stream.flush()
                return stream.readline() or "Nobody answered."
    except OSError as error:
        return f"Nothing to restart it: {error.strerror or error}. Start the demo with make demo."
