"""URLs of the test project: each view under its name."""

from __future__ import annotations

import inspect

from django.urls import path

from . import views

urlpatterns = [
    path(f"{name}/", view)
    for name, view in inspect.getmembers(views, inspect.isfunction)
    if view.__module__ == views.__name__ or hasattr(view, "csrf_exempt")
]
