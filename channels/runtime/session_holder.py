"""A session as `django.contrib.auth.get_user` reads it, which cannot change it."""

from __future__ import annotations

from typing import Any

from django.contrib import auth

SESSION_KEYS = (auth.BACKEND_SESSION_KEY, auth.SESSION_KEY, auth.HASH_SESSION_KEY)
"""Keys of a session that say who is logged in."""


class _Snapshot(dict[str, Any]):
    """The keys of a session that say who is logged in.

    `django.contrib.auth.get_user` would change the session itself: it gives a new key to one whose hash a fallback of
    the secret key has made, and empties one whose hash is wrong. A view may do so, which can tell the browser.

    Attributes:
        flushed: true if it would have emptied the session.
    """

    flushed = False

    def cycle_key(self) -> None:
        """Nothing."""

    def flush(self) -> None:
        """Note it."""
        self.flushed = True


class SessionHolder:
    """The part of a request that `django.contrib.auth.get_user` reads."""

    def __init__(self, session: Any) -> None:
        self.session = _Snapshot((key, session[key]) for key in SESSION_KEYS if key in session)
