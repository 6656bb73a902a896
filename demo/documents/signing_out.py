"""Who signs out in one window is signed out in all of that browser's."""

from __future__ import annotations

from typing import Any

from django.contrib.auth.signals import user_logged_out
from django.dispatch import receiver

from channels import Group
from demo.documents import groups

SIGNED_OUT = 4001
"""Close code that tells a page it is no longer welcome."""


@receiver(user_logged_out)
def close_sockets(sender: Any, request: Any, **kwargs: Any) -> None:
    """Close the sockets of the session that ends."""
    if request.session.session_key:
        Group(groups.of_session(request.session.session_key)).send({"close": SIGNED_OUT})
