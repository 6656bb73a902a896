"""Access to the dashboard: staff has it, visitors are sent to log in, and for all others there is no such page."""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import Any

from django.conf import settings
from django.contrib.auth.views import redirect_to_login
from django.http import Http404, HttpRequest
from django.http.response import HttpResponseBase
from django.shortcuts import resolve_url
from django.urls import NoReverseMatch, reverse
from django.views.decorators.cache import never_cache
from django.views.decorators.csrf import csrf_protect
from django.views.decorators.http import require_POST, require_safe

from channel_layer.registry import DEFAULT_CHANNEL_LAYER
from channels.configured_layers import channel_layers

View = Callable[[HttpRequest], HttpResponseBase]


def for_staff(view: View) -> View:
    """A view that staff may read."""
    return never_cache(require_safe(_with_staff(view)))


def steers_for_staff(view: View) -> View:
    """A view that changes something; protected against forged requests, whatever the project's middleware is."""
    return never_cache(require_POST(csrf_protect(_with_staff(view))))


def dashboard_layer() -> Any:
    """The channel layer that the dashboard looks at."""
    return channel_layers[DEFAULT_CHANNEL_LAYER]


def _with_staff(view: View) -> View:
    @functools.wraps(view)
    def wrapped(request: HttpRequest) -> HttpResponseBase:
        user: Any = request.user
        if user.is_active and user.is_staff:
            return view(request)
        if user.is_authenticated:
            raise Http404
        return redirect_to_login(request.get_full_path(), _login_url())

    return wrapped


def _login_url() -> str:
    """The project's own page to log in, or else that of the admin."""
    try:
        return resolve_url(settings.LOGIN_URL)
    except NoReverseMatch:
        return reverse("admin:login")
